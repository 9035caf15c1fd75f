package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// preview is what a replay or a discard would change. Who goes on sends the filter back,
// with its time, and the count: what died meanwhile was not asked about.
type preview struct {
	Count  int64      `json:"count"`
	Filter deadFilter `json:"filter"`
	Groups []group    `json:"groups"` // the largest ones
}

type group struct {
	Topic     string `json:"topic"`
	ErrorType string `json:"error_type"`
	Rows      int64  `json:"rows"`
	Error     string `json:"error"`
}

// groupsTold bounds [preview.Groups].
const groupsTold = 20

var errTooMany = errors.New("there are too many dead rows to be counted here: choose fewer, or use outbox-relay dead on the command line")

func (s *Server) previewDead(w http.ResponseWriter, r *http.Request, _ caller) {
	var p preview
	err := readBody(r, &p.Filter)
	var filter relay.DeadFilter
	if err == nil {
		filter, err = p.Filter.rows()
	}
	if err != nil {
		answerFault(w, badBody(err), err)
		return
	}
	err = s.withDead(r, func(ctx context.Context, d DeadLetters) error {
		if filter.Until.IsZero() || filter.Until.After(d.Now()) {
			filter.Until = d.Now()
			p.Filter.Until = filter.Until.UTC().Format(time.RFC3339Nano)
		}
		found, err := countDead(ctx, d, filter)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return errTooMany
		}
		if err != nil {
			return err
		}
		p.Count, p.Groups = found.Rows, []group{}
		for _, g := range found.Sorted() {
			if len(p.Groups) < groupsTold {
				p.Groups = append(p.Groups, group{Topic: told(g.Topic), ErrorType: told(g.ErrorType), Rows: g.Rows, Error: told(g.Error)})
			}
		}
		return nil
	})
	if err != nil {
		answerFault(w, http.StatusServiceUnavailable, err)
		return
	}
	answerJSON(w, http.StatusOK, p)
}

func countDead(ctx context.Context, d DeadLetters, filter relay.DeadFilter) (*relay.DeadTally, error) {
	t := &relay.DeadTally{}
	err := relay.EachDeadPage(ctx, 0, relay.DeadPage{Filter: filter, Rows: deadCounted}, func(p relay.DeadPage) (int64, int64, bool, error) {
		groups, cursor, end, err := d.Summarise(ctx, p)
		before := t.Rows
		for _, g := range groups {
			t.Add(g)
		}
		return t.Rows - before, cursor, end, err
	})
	return t, err
}

// order is what has to be sent to change dead rows.
type order struct {
	Filter deadFilter `json:"filter"`
	Count  int64      `json:"count"` // that of the preview
	// All has to be said where the filter takes every dead row.
	All bool `json:"all"`
}

// deed is the replay or discard that runs, or that ran last. There is one at a time.
type deed struct {
	mu sync.Mutex
	progress
}

// progress is how far it has got.
type progress struct {
	Action string `json:"action"` // replay or discard; empty: none yet
	// BeganAt tells one from another: who began one, in a tab of theirs, must not take the
	// numbers of the next one for their own. Null: none yet, or the relay was started anew.
	BeganAt *time.Time `json:"began_at"`
	Running bool       `json:"running"`
	Count   int64      `json:"count"`
	Changed int64      `json:"changed"` // rows that were really changed
	Left    int64      `json:"left"`    // locked by others, or no longer dead
	Error   string     `json:"error"`
	Ended   *time.Time `json:"ended"`
}

func (d *deed) told() progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.progress
}

func (d *deed) note(change func(*progress)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.progress)
}

// begin takes the place, unless another one runs.
func (d *deed) begin(action relay.DeadAccess, count int64) (begun progress, alone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Running {
		return progress{}, false
	}
	now := time.Now()
	d.progress = progress{Action: action.String(), BeganAt: &now, Running: true, Count: count}
	return d.progress, true
}

// changeDead begins a replay or a discard, and answers at once: the page asks how far it
// has got.
func (s *Server) changeDead(action relay.DeadAccess) func(http.ResponseWriter, *http.Request, caller) {
	return func(w http.ResponseWriter, r *http.Request, c caller) {
		var o order
		err := readBody(r, &o)
		var filter relay.DeadFilter
		if err == nil {
			filter, err = o.Filter.rows()
		}
		switch {
		case err != nil:
		case filter.Until.IsZero():
			err = errors.New("until: ask for a preview first, and send the filter that it answers")
		case o.Count <= 0:
			err = errors.New("count: expected the one that the preview answered")
		case o.Filter.takesAll() && !o.All:
			err = errors.New("all: this filter takes every dead row, which has to be meant: send true")
		}
		if err != nil {
			answerFault(w, badBody(err), err)
			return
		}
		begun, alone := s.deed.begin(action, o.Count)
		if !alone {
			answerFault(w, http.StatusConflict, errors.New("another replay or discard runs: wait for its end"))
			return
		}
		log := s.options.Logger.With(slog.String("action", action.String()), slog.String("caller", c.from), slog.Any("filter", o.Filter), slog.Int64("count", o.Count))
		log.Info("dead rows are changed over HTTP")
		s.tasks.Go(func() { s.runDeed(action, filter, o.Count, log) })
		answerJSON(w, http.StatusAccepted, begun)
	}
}

// runDeed ends with the server. A page of rows is changed as a whole or not at all, and
// what is counted has been changed.
func (s *Server) runDeed(action relay.DeadAccess, filter relay.DeadFilter, count int64, log *slog.Logger) {
	err := s.changeAll(action, filter, count)
	s.deed.note(func(p *progress) {
		now := time.Now()
		p.Running, p.Ended = false, &now
		if err != nil {
			p.Error = relay.OneLine(err.Error())
		}
	})
	p := s.deed.told()
	result := []any{slog.Int64("changed", p.Changed), slog.Int64("left", p.Left)}
	if err != nil {
		log.Error("dead rows were not all changed over HTTP", append(result, slog.Any("error", err))...)
		return
	}
	log.Info("dead rows were changed over HTTP", result...)
}

// deedPage is how many dead rows a statement looks at that changes some.
const deedPage = 1000

// deedGrace is how long a statement under way may take when the relay ends.
const deedGrace = time.Second

func (s *Server) changeAll(action relay.DeadAccess, filter relay.DeadFilter, count int64) error {
	d, err := s.options.OpenDead(s.running, action)
	if err != nil {
		return err
	}
	defer d.Close()
	// The rows may have changed since the preview: that is not what was asked for.
	found, err := countDead(s.running, d, filter)
	switch {
	case err != nil:
		return err
	case found.Rows != count:
		return fmt.Errorf("nothing was changed: the filter takes %s now, and took %s when they were counted", plural(int(found.Rows), "row"), grouped(int(count)))
	}
	change := d.Replay
	if action == relay.DiscardDead {
		change = d.Discard
	}
	unbroken, cut := context.WithCancel(context.WithoutCancel(s.running))
	defer cut()
	defer context.AfterFunc(s.running, func() { time.AfterFunc(deedGrace, cut) })()
	return relay.EachDeadPage(s.running, 0, relay.DeadPage{Filter: filter, Rows: deedPage}, func(p relay.DeadPage) (int64, int64, bool, error) {
		done, err := change(unbroken, p)
		s.deed.note(func(p *progress) { p.Changed, p.Left = p.Changed+done.Changed, p.Left+done.Matched-done.Changed })
		return done.Matched, done.Cursor, done.End, err
	})
}
