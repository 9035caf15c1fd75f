package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/schema"
)

// writerName is the application_name of the writers, by which the killer finds
// them and nobody else.
const writerName = "oracle-writer"

// Load is an application under way. The zero value of every field but the first
// two has a meaning given there.
type Load struct {
	URL   string
	Table schema.Table
	// Payload is the type of the payload column; json if empty. Not jsonb, which
	// does not keep bytes: use [Bulk] for that.
	Payload schema.PayloadType
	// Writers is the number of connections; 4 if 0.
	Writers int
	// Keys is the number of aggregates; 50 if 0.
	Keys int
	// Prefix begins the names of the aggregates; "aggregate" if empty.
	Prefix string
	// Rows ends the load once so many are committed; 0: [Running.Stop] ends it.
	Rows int
	// Rate is about how many rows are written per second; 0: as many as possible.
	Rate int
	// MaxPayload is the size of the largest payloads in bytes; 2,000 if 0.
	MaxPayload int
	// Topics are the subjects written to; "oracle.a" and "oracle.b" if empty.
	Topics []string
	// KillEvery is the time between two pg_terminate_backend of a writer; 0: never.
	KillEvery time.Duration
	// Copy is how many of a hundred statements are a COPY instead of an INSERT.
	Copy int
	// Prepare is how many of a hundred transactions end in two phases. A session or a
	// server that ends between them leaves a prepared transaction behind, so this is
	// not for loads to which that happens, KillEvery included.
	Prepare int
	// Seed makes the plan of the transactions repeatable.
	Seed uint64
	// BeforeEnd, if set, sees the rows of each transaction right before it is
	// committed or rolled back. It may be called from several goroutines.
	BeforeEnd func(ctx context.Context, rows []Row, commit bool) error
}

// Row is a row as a writer inserted it.
type Row struct {
	Content
	Written
}

// Stats counts what a load did.
type Stats struct {
	Committed           int // rows whose commit the writer saw
	RolledBack          int // rows
	SavepointRolledBack int // rows
	Unresolved          int // transactions whose session ended before the answer
	Killed              int // sessions terminated
	Copied              int // rows, whatever became of them
	Prepared            int // transactions, whatever became of them
}

// Running is a load under way.
type Running struct {
	load   Load
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	tally  tally
}

type tally struct {
	committed, rolledBack, savepoint, unresolved, killed, copied, prepared atomic.Int64
}

func (l Load) withDefaults() Load {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Writers, 4)
	set(&l.Keys, 50)
	set(&l.MaxPayload, 2000)
	if l.Prefix == "" {
		l.Prefix = "aggregate"
	}
	if l.Payload == "" {
		l.Payload = schema.PayloadJSON
	}
	if len(l.Topics) == 0 {
		l.Topics = []string{"oracle.a", "oracle.b"}
	}
	return l
}

// Start sets the writers going. They reconnect when a session ends, whoever
// ended it, and stop when ctx ends, on [Running.Stop], or at Load.Rows.
func (l Load) Start(ctx context.Context) *Running {
	l = l.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	r := &Running{load: l, cancel: cancel, done: make(chan struct{})}
	var wg sync.WaitGroup
	errs := make([]error, l.Writers)
	writing, stopWriting := context.WithCancel(ctx)
	for i := range l.Writers {
		wg.Go(func() {
			w := &writer{load: l, tally: &r.tally, number: i, rand: rand.New(rand.NewPCG(l.Seed, uint64(i)))}
			errs[i] = w.run(writing)
			if errs[i] != nil {
				stopWriting()
			}
		})
	}
	var killer sync.WaitGroup
	if l.KillEvery > 0 {
		killer.Go(func() { r.kill(writing) })
	}
	go func() {
		defer close(r.done)
		wg.Wait()
		stopWriting()
		killer.Wait()
		cancel()
		r.err = errors.Join(errs...)
	}()
	return r
}

// Committed is the number of rows known to be committed so far.
func (r *Running) Committed() int { return int(r.tally.committed.Load()) }

// Done is closed when the load has ended by itself.
func (r *Running) Done() <-chan struct{} { return r.done }

// Stop lets each writer end its transaction and returns what they did, and the
// first error that was neither a lost session nor the end of ctx. It may be
// called twice.
func (r *Running) Stop() (Stats, error) {
	r.cancel()
	return r.Wait()
}

// Wait waits for the load to end by itself.
func (r *Running) Wait() (Stats, error) {
	<-r.done
	return Stats{
		Committed:           int(r.tally.committed.Load()),
		RolledBack:          int(r.tally.rolledBack.Load()),
		SavepointRolledBack: int(r.tally.savepoint.Load()),
		Unresolved:          int(r.tally.unresolved.Load()),
		Killed:              int(r.tally.killed.Load()),
		Copied:              int(r.tally.copied.Load()),
		Prepared:            int(r.tally.prepared.Load()),
	}, r.err
}

// kill ends a writer's session every now and then, at whatever point it is.
func (r *Running) kill(ctx context.Context) {
	tick := time.NewTicker(r.load.KillEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Errors are left alone: the server may be down, and then the next tick tries.
		if n, err := killOne(ctx, r.load.URL); err == nil {
			r.tally.killed.Add(n)
		}
	}
}

func killOne(ctx context.Context, url string) (int64, error) {
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("connect to kill a writer: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	tag, err := db.Exec(ctx, `
		SELECT pg_terminate_backend(pid) FROM (
			SELECT pid FROM pg_stat_activity
			WHERE application_name = $1 AND datname = current_database()
			ORDER BY state = 'active' DESC, random() LIMIT 1) victim`, writerName)
	if err != nil {
		return 0, fmt.Errorf("kill a writer: %w", err)
	}
	return tag.RowsAffected(), nil
}
