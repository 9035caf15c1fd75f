// Package mutants proves that the rules of docs/rules.md have tests that fail when
// a rule is taken out.
//
// Each mutant takes one rule out of one source file, by replacing a piece of
// its text, and names the test that must then fail. The tests run with the
// mutated file laid over the real one (go test -overlay), SQL files included:
// nothing in the tree changes. A piece of text that is no longer there fails too,
// so a mutant moves with the code it is about. A test in docs sees that the page
// lists each mutant at its rule.
//
// Run it with make mutants. Each mutant is a run of go test, so all of them take
// long; one of them:
// go test -tags mutants -run 'TestEachRule.*/NAME' ./e2e/mutants
package mutants
