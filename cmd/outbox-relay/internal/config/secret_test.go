package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// holder keeps a configuration where fmt does not find the methods of Secret.
type holder struct{ config Config }

func TestNothingPrintsASecret(t *testing.T) {
	config := mustLoad(t, "OUTBOX_NATS_TOKEN="+secret)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+"\n", config)
		fmt.Fprintf(&out, verb+"\n", config.NATSToken)
		fmt.Fprintf(&out, verb+"\n", &config.NATSToken)
		fmt.Fprintf(&out, verb+"\n", holder{config})
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("config", slog.Any("config", config), slog.Any("token", config.NATSToken), slog.Any("held", holder{config}))
	}
	if strings.Contains(out.String(), secret) || strings.Contains(out.String(), fmt.Sprintf("%x", secret)) {
		t.Errorf("secret printed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), redacted) {
		t.Errorf("nothing says that a secret was left out:\n%s", out.String())
	}
}

func TestFaultsCanBeToldApart(t *testing.T) {
	_, err := Load(nil)
	var faults Faults
	if !errors.As(fmt.Errorf("load: %w", err), &faults) || len(faults) != 2 {
		t.Errorf("error is %T %v, want two Faults", err, err)
	}
}
