// Package authority issues TLS certificates for tests: a certificate authority of
// the test's own, whose files go with the test.
//
//	ours := authority.New(t, "ours")
//	certFile, keyFile := ours.Issue("server")
//
// Certificates are for 127.0.0.1, fit for servers and clients, and valid for an
// hour. A failure ends the test. An authority is for the goroutine of its test.
package authority
