package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

func TestLogFormat(t *testing.T) {
	for format, isJSON := range map[config.LogFormat]bool{config.LogAuto: true, config.LogJSON: true, config.LogText: false} {
		var out strings.Builder // not a terminal, as a pipe
		log := newLogger(&out, slog.LevelWarn, format)
		log.Info("left out")
		log.Warn("fault", slog.String("table", "public.outbox"))
		var record map[string]any
		err := json.Unmarshal([]byte(out.String()), &record)
		if isJSON && (err != nil || record["table"] != "public.outbox") || !isJSON && !strings.HasSuffix(out.String(), "level=WARN msg=fault table=public.outbox\n") {
			t.Errorf("%s: %q", format, out.String())
		}
	}
}

func TestOnlyADeviceIsATerminal(t *testing.T) {
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer other.Close()
	device, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if isTerminal(other) || isTerminal(&strings.Builder{}) || !isTerminal(device) {
		t.Errorf("pipe %v, builder %v, device %v; want only the device", isTerminal(other), isTerminal(&strings.Builder{}), isTerminal(device))
	}
}
