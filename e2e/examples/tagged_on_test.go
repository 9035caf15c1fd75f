//go:build examples

package examples

// tagged are the languages of "make examples", which this run is.
func tagged() []language { return foreign() }
