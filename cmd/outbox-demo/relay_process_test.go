package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestModeIsReadFromTheRelaysLogAsItIsWritten(t *testing.T) {
	log, err := openRelayLog(filepath.Join(t.TempDir(), "relay.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.file.Close()
	text := ""
	for _, step := range []struct{ chunk, want string }{
		{`{"level":"INFO","msg":"lead`, "starting"},
		{`ing","mode":"polling"}` + "\n" + `{"msg":"other"}` + "\n", "polling"},
		{"panic: not JSON\n", "polling"},
		{`{"mode":"tailing"}` + "\n", "tailing"},
	} {
		if _, err := log.Write([]byte(step.chunk)); err != nil {
			t.Fatal(err)
		}
		text += step.chunk
		if got := log.mode(); got != step.want {
			t.Errorf("mode is %q after %q, want %q", got, step.chunk, step.want)
		}
	}
	if got, err := os.ReadFile(log.file.Name()); err != nil || string(got) != text {
		t.Errorf("file has %q (%v), want all that was written", got, err)
	}
}
