// Package mutants proves that every rule of the relay has a test that fails
// when the rule is taken out.
//
// Each mutant takes one rule out of one source file, by replacing a piece of
// its text, and names the test that must then fail. The tests run with the
// mutated file laid over the real one (go test -overlay): nothing in the tree
// changes. A piece of text that is no longer there fails too, so a mutant moves
// with the code it is about.
//
// Run it with make mutants; it takes a few minutes.
package mutants
