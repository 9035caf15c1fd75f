// Package docs holds the pages of the documentation. Its tests keep them true:
// the rules name tests and mutants that exist, links lead somewhere, and every
// command that is marked as runnable runs on real servers.
package docs
