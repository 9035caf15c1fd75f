//go:build !faultpoint

package engine

// faultpoint does nothing in a relay that users run; see faultpoint_on.go.
func faultpoint(string) {}
