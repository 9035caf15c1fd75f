package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

const (
	writers = 6
	links   = 300
	// Of each hundred transactions, so many fail at their very end, as
	// applications' transactions do, and so many take one click back with a
	// savepoint and record another.
	rolledBackPercent = 7
	savepointPercent  = 2
)

// linkCodes are the short codes; the first ones are the popular links.
func linkCodes() []string {
	codes := make([]string, links)
	for i := range codes {
		codes[i] = fmt.Sprintf("l%03d", i)
	}
	return codes
}

// load is the application: writers that record clicks at a common pace. It
// counts what it did only for show and to be compared with what the database
// says in the end.
type load struct {
	url    string
	clicks int // to commit; 0: go on until ctx ends
	rate   int

	began   time.Time
	paced   atomic.Int64 // transactions begun
	taken   atomic.Int64 // clicks that some writer has set out to commit
	written atomic.Int64 // clicks committed
	undone  atomic.Int64 // clicks rolled back, with their transaction or to a savepoint
}

// run writes until all clicks are committed or ctx ends.
func (l *load) run(ctx context.Context) error {
	l.began = time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range writers {
		group.Go(func() error {
			return withConn(ctx, l.url, func(conn *pgx.Conn) error { return l.write(ctx, conn) })
		})
	}
	return group.Wait()
}

func (l *load) write(ctx context.Context, conn *pgx.Conn) error {
	codes := linkCodes()
	popularity := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), 1.2, 10, links-1)
	for l.clicks == 0 || l.taken.Add(1) <= int64(l.clicks) {
		for committed := false; !committed; {
			if err := l.await(ctx); err != nil {
				return err
			}
			code := codes[popularity.Uint64()]
			var err error
			if committed, err = l.transaction(ctx, conn, code); err != nil {
				return fmt.Errorf("write a click of %s: %w", code, err)
			}
		}
		l.written.Add(1)
	}
	return nil
}

// await holds the common pace; writers that are late catch up.
func (l *load) await(ctx context.Context) error {
	due := l.began.Add(time.Duration(l.paced.Add(1)) * time.Second / time.Duration(l.rate))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transaction records one click and says whether it was committed.
func (l *load) transaction(ctx context.Context, conn *pgx.Conn, code string) (bool, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	// After a commit this does nothing.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	dice := rand.IntN(100)
	if dice < savepointPercent {
		if err := l.recordAndTakeBack(ctx, tx, code); err != nil {
			return false, err
		}
	}
	if err := record(ctx, tx, code); err != nil {
		return false, err
	}
	if dice >= 100-rolledBackPercent {
		if err := tx.Rollback(ctx); err != nil {
			return false, fmt.Errorf("roll back: %w", err)
		}
		l.undone.Add(1)
		return false, nil
	}
	if err := tx.Commit(ctx); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	return true, nil
}

// recordAndTakeBack leaves nothing of a click, in a transaction that goes on.
func (l *load) recordAndTakeBack(ctx context.Context, tx pgx.Tx, code string) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return fmt.Errorf("set savepoint: %w", err)
	}
	if err := record(ctx, savepoint, code); err != nil {
		return err
	}
	if err := savepoint.Rollback(ctx); err != nil {
		return fmt.Errorf("roll back to savepoint: %w", err)
	}
	l.undone.Add(1)
	return nil
}

// message is the payload of a click's message.
type message struct {
	Click    string `json:"click"`
	Code     string `json:"code"`
	Seq      int64  `json:"seq"`
	Referrer string `json:"referrer"`
}

// content is what the broker has to have of a click.
func (m message) content() (oracle.Content, error) {
	payload, err := json.Marshal(m)
	if err != nil {
		return oracle.Content{}, fmt.Errorf("encode message: %w", err)
	}
	return oracle.Content{Topic: topic, Key: m.Code, Keyed: true, ContentType: "application/json", Payload: payload}, nil
}

// digest stands for the content.
func (m message) digest() (oracle.Digest, error) {
	c, err := m.content()
	return c.Digest(), err
}

var referrers = [...]string{"https://news.example.org/", "https://search.example.com/", ""}

// record is the outbox pattern: the click and the message about it, in one
// transaction, behind the link's row lock.
func record(ctx context.Context, tx pgx.Tx, code string) error {
	m := message{Code: code, Referrer: referrers[rand.IntN(len(referrers))]}
	err := tx.QueryRow(ctx, "UPDATE link SET clicks = clicks + 1 WHERE code = $1 RETURNING clicks", code).Scan(&m.Seq)
	if err != nil {
		return fmt.Errorf("lock link: %w", err)
	}
	err = tx.QueryRow(ctx, "INSERT INTO click (code, seq, referrer) VALUES ($1, $2, $3) RETURNING id::text",
		code, m.Seq, m.Referrer).Scan(&m.Click)
	if err != nil {
		return fmt.Errorf("insert click: %w", err)
	}
	c, err := m.content()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO outbox (topic, key, payload) VALUES ($1, $2, $3)", c.Topic, c.Key, string(c.Payload))
	if err != nil {
		return fmt.Errorf("insert into outbox: %w", err)
	}
	return nil
}
