// Package examples takes the programs from the pages in docs, and runs
// them between real servers, with the relay. SQL and Go are part of every test run. The
// other languages need their runtimes and packages: "make examples" installs what is
// missing, and runs the tests with the build tag examples.
package examples
