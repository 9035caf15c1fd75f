// Package deploytest holds no code, only tests of what deploy/ and the Dockerfile ship:
// each file is judged by the code of the program that will read it, and what can be
// run is run, between real servers.
//
// It is a module of its own, because Kubernetes, Compose and BuildKit bring hundreds
// of modules that the relay does not need. "make deploy-test" runs it. What needs
// mounts and namespaces takes Linux and root, and is skipped without.
package deploytest
