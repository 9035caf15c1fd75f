// Package pagetest tests the page in a real browser: a relay between a real PostgreSQL and
// a real broker, and headless Chromium. It is a module of its own, since nobody else needs
// what drives the browser: make page-test.
package pagetest
