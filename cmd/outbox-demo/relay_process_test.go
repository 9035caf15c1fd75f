package main

import "testing"

func TestModeIsReadFromTheRelaysLogAsItIsWritten(t *testing.T) {
	m := &mode{current: "starting"}
	for _, step := range []struct{ chunk, want string }{
		{`{"level":"INFO","msg":"lead`, "starting"},
		{`ing","mode":"polling"}` + "\n" + `{"msg":"other"}` + "\n", "polling"},
		{"panic: not JSON\n", "polling"},
		{`{"mode":"tailing"}` + "\n", "tailing"},
	} {
		if _, err := m.Write([]byte(step.chunk)); err != nil {
			t.Fatal(err)
		}
		if got := m.get(); got != step.want {
			t.Errorf("mode is %q after %q, want %q", got, step.chunk, step.want)
		}
	}
}
