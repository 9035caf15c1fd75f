//go:build !examples

package examples

// tagged are the languages of "make examples", which this run is not.
func tagged() []language { return nil }
