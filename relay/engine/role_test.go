package engine_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

var roles atomic.Int64

// startAs is start for a relay with a least-privilege role of its own, which it
// returns.
func startAs(t *testing.T, configure func(*engine.Config)) (*harness, string) {
	t.Helper()
	url := pgtest.Database(t)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	role := fmt.Sprintf("relay_%d_%d", os.Getpid(), roles.Add(1))
	table := schema.Table{Schema: "public", Name: "outbox"}
	h := startOn(t, url, func(c *engine.Config) {
		database, err := postgres.New(postgres.Options{
			URL: pgtest.Server(t).URLAs(role, "secret", config.Database), Table: table, Logger: c.Logger,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Database = database
		if configure != nil {
			configure(c)
		}
	}, nil)
	if err := schema.GrantRole(t.Context(), h.conn, schema.RoleOptions{Table: table, Role: role}, "secret"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, sql := range []string{"DROP OWNED BY " + role + " CASCADE", "DROP ROLE " + role} {
			if _, err := h.conn.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	})
	return h, role
}

// asOwner is the harness's database, for a relay that connects as its owner.
func (h *harness) asOwner() relay.Database {
	h.Helper()
	database, err := postgres.New(postgres.Options{
		URL: h.conn.Config().ConnString(), Table: schema.Table{Schema: "public", Name: "outbox"}, Logger: h.config.Logger,
	})
	if err != nil {
		h.Fatal(err)
	}
	return database
}
