package pagetest

import (
	"bytes"
	"os"
	"testing"
)

// The files of uPlot that are served are those that npm has of its version.
func TestPlotLibraryIsTheOneOfNpm(t *testing.T) {
	for served, from := range map[string]string{
		"uPlot.iife.min.js": "dist/uPlot.iife.min.js", "uPlot.min.css": "dist/uPlot.min.css", "LICENSE": "LICENSE",
	} {
		ours, err := os.ReadFile("../../relay/admin/page/uplot/" + served)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.ReadFile("node_modules/uplot/" + from)
		if err != nil {
			t.Fatalf("%v: make page-test installs it", err)
		}
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%s is another: run make page-assets", served)
		}
	}
}
