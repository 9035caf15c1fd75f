// Package pgtest gives tests a real PostgreSQL: one private cluster per test
// package, started when the first test asks for it, and a fresh database per
// test.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		conn := pgtest.Connect(t, pgtest.Database(t))
//		…
//	}
//
// A test that stops the server takes one of its own: [Own]. Without PostgreSQL's
// programs a test fails, it is not skipped. All functions may be called from
// parallel tests.
package pgtest
