package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/relay/tail"
	"github.com/outbox-relay/outbox-relay/schema"
)

// Set for the process that publishes by hand.
const (
	byHandDatabase = "E2E_BY_HAND_DATABASE_URL"
	byHandBroker   = "E2E_BY_HAND_NATS_URL"
	byHandTable    = "E2E_BY_HAND_TABLE" // in schema public
)

// byHandReady is what that process prints once it reads the log.
const byHandReady = "tailing"

// publishByHand starts the floor, and returns when it tails. It is this test's binary.
// In the process of the benchmark it would be awake already when a row comes, because the
// same process has inserted the row.
func (w *world) publishByHand(b *testing.B) (stop func()) {
	b.Helper()
	dir, err := testbed.NewDir("outbox-relay-by-hand-", nil)
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), byHandDatabase+"="+w.url, byHandBroker+"="+w.broker.URL(), byHandTable+"="+w.table.Name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	process, err := dir.Start(cmd, syscall.SIGTERM)
	if err != nil {
		b.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("the loop that is written by hand says %q: %v", line, err)
	}
	return func() {
		if err := process.Stop(context.Background(), syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		if err := dir.Close(); err != nil {
			b.Error(err)
		}
	}
}

// publishByHandUntilTold is the floor's process. It returns the exit status.
func publishByHandUntilTold() int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := publishLog(ctx); !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "publish by hand:", err)
		return 1
	}
	return 0
}

func publishLog(ctx context.Context) error {
	conn, err := nats.Connect(os.Getenv(byHandBroker))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(benchWindow))
	if err != nil {
		return err
	}
	config, err := pgx.ParseConfig(os.Getenv(byHandDatabase))
	if err != nil {
		return err
	}
	table := schema.Table{Schema: "public", Name: os.Getenv(byHandTable)}
	log, err := tail.Open(ctx, tail.Options{Config: &config.Config, Table: table, ApplicationName: "floor"})
	if err != nil {
		return err
	}
	defer log.Close()
	if err := log.Start(ctx); err != nil {
		return err
	}
	fmt.Println(byHandReady)
	for {
		ev, err := log.Next(ctx)
		if err != nil {
			return err
		}
		if ev.Kind != tail.Row {
			continue
		}
		m := ev.Message
		_, err = js.PublishMsgAsync(&nats.Msg{Subject: m.Topic, Data: m.Payload, Header: nats.Header{
			"Nats-Msg-Id": {m.MessageID.String()}, "Content-Type": {m.ContentType}, "Outbox-Key": {m.Key},
		}})
		if err != nil {
			return err
		}
	}
}
