package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// Rule 21. A relay that is frozen while rows come reads no more, and answers for
// its kernel that it is there: the server's process waits in the middle of sending,
// with its snapshot and its lock on the table. No timeout of SQL ends that, but
// tcp_user_timeout does.
func TestServerGivesUpAClientThatReadsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 't', to_json(repeat('x', 1000)) FROM generate_series(1, 40000)`)
	direct := fmt.Sprintf("127.0.0.1:%d", pgtest.Server(t).Port())
	proxy, err := faultproxy.Start(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	f.options.URL = strings.Replace(f.url, direct, proxy.Addr(), 1)
	_, s := f.lead()
	pass := f.begin(s)
	f.chunk(s, request(pass)) // so that the statement is prepared
	proxy.StallReplies(true)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := s.Chunk(ctx, request(pass))
		ended <- err
	}()
	eventually(t, "the server waits for its client", func() bool {
		return f.value(`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND datname = current_database()`) == int64(1)
	})
	f.exec(`SET lock_timeout = '60s'`)
	start := time.Now()
	f.exec(`ALTER TABLE {t} ADD COLUMN more int`)
	f.exec(`INSERT INTO {t} (topic, payload) VALUES ('t', '{}')`)
	took := time.Since(start)
	t.Logf("the application waited for %v", took)
	if took > 45*time.Second {
		t.Errorf("the application waited for %v, want 15 s at most, and a little", took)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the relay has read a result that was never sent whole")
	}
	s.Close()
}
