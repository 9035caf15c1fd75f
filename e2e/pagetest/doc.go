// Package pagetest tests the page in a real browser: a relay between a real PostgreSQL and
// a real broker, and headless Chromium. It is a module of its own, since nobody else needs
// what drives the browser: make page-test. For fuzzing a browser is too slow, so there the
// page's modules run in jsdom, by Node (render.mjs): make page-fuzz.
package pagetest
