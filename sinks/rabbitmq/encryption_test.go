package rabbitmq_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/wiretap"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func TestPlaintextToAnotherHostIsToldAndOnDemandRefused(t *testing.T) {
	tap := wiretap.Start(t, server(t).Addr())
	declare(t, server(t).URL(), "encryption")
	for _, required := range []bool{false, true} {
		var log bytes.Buffer
		e := &relay.Encryption{Required: required, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		before := len(tap.Heard())
		s := open(t, rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://guest:guest@" + tap.Addr()}, Encryption: e})
		checks := rabbitmq.Examine(t.Context(), rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://guest:guest@" + tap.Addr()}, Encryption: e}, nil)
		if !required {
			reach(t, s)
			if !strings.Contains(log.String(), "a connection is not protected") {
				t.Errorf("the log says %s", log.String())
			}
			if len(checks) < 2 || checks[1].Severity != relay.Warning || !strings.Contains(checks[1].Fix, "amqps://") {
				t.Errorf("doctor says %+v", checks)
			}
			continue
		}
		err := probe(t, s)
		if _, refused := errors.AsType[*relay.PlaintextError](err); !refused || !strings.Contains(err.Error(), tap.Addr()) {
			t.Errorf("probe says %v", err)
		}
		if len(checks) != 1 || checks[0].Severity != relay.Fault || !strings.Contains(checks[0].Fix, "amqps://") {
			t.Errorf("doctor says %+v", checks)
		}
		if heard := tap.Heard()[before:]; heard != "" {
			t.Errorf("the one in between has heard %q", heard)
		}
		// On this host it does not matter.
		reach(t, open(t, rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: server(t).URL()}, Encryption: e}))
	}
}
