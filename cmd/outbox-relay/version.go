package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// release is set by the linker in releases: -X main.release=v1.2.3.
var release string

// runVersion is the command "version".
func runVersion(_ context.Context, _, args []string, stdout, stderr io.Writer) int {
	if refuseArguments("version", args, stderr) {
		return 2
	}
	fmt.Fprintf(stdout, "outbox-relay %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return 0
}

// version returns the release, else what the toolchain recorded: the module's
// version after go install, the commit after go build in a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if release != "" || !ok {
		return cmp.Or(release, "unknown")
	}
	return describeBuild(info)
}

func describeBuild(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	if revision == "" {
		return "development"
	}
	if settings["vcs.modified"] == "true" {
		return "development at " + revision + ", modified"
	}
	return "development at " + revision
}
