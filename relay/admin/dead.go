package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay"
)

// DeadLetters is a session of the database that works on dead rows. One goroutine at a
// time uses it, and closes it.
type DeadLetters interface {
	// List, Summarise, Replay and Discard work on one page, in one short statement.
	List(context.Context, relay.DeadPage) (rows []relay.DeadRow, cursor int64, end bool, err error)
	Summarise(context.Context, relay.DeadPage) (groups []relay.DeadGroup, cursor int64, end bool, err error)
	Replay(context.Context, relay.DeadPage) (relay.DeadDone, error)
	Discard(context.Context, relay.DeadPage) (relay.DeadDone, error)
	// Show returns rows with their beginnings of payloads.
	Show(context.Context, []int64) ([]relay.WholeRow, error)
	// Now is when the session began, by the database's clock.
	Now() time.Time
	Close()
}

// The paths of dead rows.
const (
	pathDead     = "/api/dead"
	pathDeadRow  = "/api/dead/row"
	pathPreview  = "/api/dead/preview"
	pathReplay   = "/api/dead/replay"
	pathDiscard  = "/api/dead/discard"
	pathDeadDeed = "/api/dead/progress"
)

func (s *Server) addDead(to routes) {
	if s.options.OpenDead == nil {
		return
	}
	to[pathDead] = route{http.MethodGet, near, s.listDead}
	to[pathDeadRow] = route{http.MethodGet, bearer, s.showDead}
	to[pathPreview] = route{http.MethodPost, bearer, s.previewDead}
	to[pathReplay] = route{http.MethodPost, bearer, s.changeDead(relay.ReplayDead)}
	to[pathDiscard] = route{http.MethodPost, bearer, s.changeDead(relay.DiscardDead)}
	to[pathDeadDeed] = route{http.MethodGet, near, func(w http.ResponseWriter, _ *http.Request, _ caller) {
		answerJSON(w, http.StatusOK, s.deed.told())
	}}
}

// Bounds of a request. A person reads a page; the session has a connection of its own,
// so there is one at a time, and what waits for it does not wait for long.
const (
	deadListed   = 50     // rows of an answer
	deadExamined = 1000   // dead rows that a statement looks at
	deadCounted  = 10_000 // the same, for counting
	deadTime     = 7 * time.Second
	maxPayload   = 20 << 10
)

var errBusy = errors.New("others are being served from the table: try again in a moment")

// withDead opens a session for a request that only reads.
func (s *Server) withDead(r *http.Request, do func(context.Context, DeadLetters) error) error {
	ctx, cancel := context.WithTimeout(r.Context(), deadTime)
	defer cancel()
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return errBusy
	}
	d, err := s.options.OpenDead(ctx, relay.ReadDead)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(ctx, d)
}

// deadRow is a dead row as the page shows it. Ids are text: see [snapshot].
type deadRow struct {
	ID        string     `json:"id"`
	MessageID string     `json:"message_id"`
	Topic     string     `json:"topic"`
	Key       *string    `json:"key"`
	ErrorType string     `json:"error_type"`
	Error     string     `json:"error"`
	Attempts  int        `json:"attempts"`
	CreatedAt *time.Time `json:"created_at"`
	DeadAt    *time.Time `json:"dead_at"`
}

func viewDead(r relay.DeadRow) deadRow {
	return deadRow{
		ID: strconv.FormatInt(r.ID, 10), MessageID: r.MessageID.String(), Topic: r.Topic, Key: r.Key, ErrorType: r.ErrorType, Error: r.LastError,
		Attempts: r.Attempts, CreatedAt: jsonTime(r.CreatedAt), DeadAt: jsonTime(r.DeadAt),
	}
}

// jsonTime is nil also for a time that JSON cannot hold.
func jsonTime(t time.Time) *time.Time {
	if t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return known(t)
}

// listDead answers with the next rows of a filter. Next is the cursor of the page after;
// empty where there are no more dead rows. With a filter that takes few of many rows a page
// may be empty and not the last one: a request does not look for ever.
func (s *Server) listDead(w http.ResponseWriter, r *http.Request, _ caller) {
	filter, after, err := queryFilter(r.URL.Query())
	if err != nil {
		answerFault(w, http.StatusBadRequest, err)
		return
	}
	list := struct {
		Rows []deadRow `json:"rows"`
		Next string    `json:"next"`
	}{Rows: []deadRow{}}
	err = s.withDead(r, func(ctx context.Context, d DeadLetters) error {
		page := relay.DeadPage{Filter: filter, After: after, Rows: deadExamined}
		for began := time.Now(); len(list.Rows) < deadListed; {
			page.Most = deadListed - len(list.Rows)
			rows, cursor, end, err := d.List(ctx, page)
			if err != nil {
				return err
			}
			for _, row := range rows {
				list.Rows = append(list.Rows, viewDead(row))
			}
			if end && len(rows) < page.Most {
				list.Next = ""
				return nil
			}
			page.After, list.Next = cursor, strconv.FormatInt(cursor, 10)
			if time.Since(began) > deadTime/2 {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		answerFault(w, http.StatusServiceUnavailable, err)
		return
	}
	answerJSON(w, http.StatusOK, list)
}

// wholeRow is a row with what it carries. Headers and payload are text, exactly as they
// are: what parses JSON may change its numbers.
type wholeRow struct {
	deadRow
	ContentType  string `json:"content_type"`
	Headers      string `json:"headers"`
	Payload      string `json:"payload"`
	PayloadBytes int64  `json:"payload_bytes"`
	Cut          bool   `json:"payload_cut"`
	Binary       bool   `json:"payload_binary"` // it is not text, and not here
}

func (s *Server) showDead(w http.ResponseWriter, r *http.Request, _ caller) {
	id, err := strconv.ParseInt(r.URL.Query().Get("id"), 10, 64)
	if err != nil {
		answerFault(w, http.StatusBadRequest, errors.New("id: expected the id of a row"))
		return
	}
	var rows []relay.WholeRow
	err = s.withDead(r, func(ctx context.Context, d DeadLetters) error {
		var err error
		rows, err = d.Show(ctx, []int64{id})
		return err
	})
	switch {
	case err != nil:
		answerFault(w, http.StatusServiceUnavailable, err)
	case len(rows) == 0:
		answerFault(w, http.StatusNotFound, errors.New("there is no such row any more"))
	default:
		answerJSON(w, http.StatusOK, viewWhole(rows[0]))
	}
}

func viewWhole(r relay.WholeRow) wholeRow {
	v := wholeRow{deadRow: viewDead(r.DeadRow), ContentType: r.ContentType, PayloadBytes: r.PayloadBytes}
	v.Headers, _ = beginning(r.Headers)
	v.Payload, v.Binary = beginning(r.Payload)
	v.Cut = !v.Binary && int64(len(v.Payload)) < r.PayloadBytes
	return v
}

// beginning is text of at most maxPayload bytes, cut where a character ends.
func beginning(of []byte) (text string, binary bool) {
	if !utf8.Valid(of) {
		return "", true
	}
	if len(of) > maxPayload {
		end := maxPayload
		for !utf8.RuneStart(of[end]) {
			end--
		}
		of = of[:end]
	}
	return string(of), false
}

func answerJSON(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // what is answered always can be written as JSON
		answer(w, http.StatusInternalServerError, plainText, err.Error())
		return
	}
	answer(w, code, "application/json", string(text))
}

// answerFault answers with one line, for the person who asked.
func answerFault(w http.ResponseWriter, code int, err error) {
	answer(w, code, plainText, relay.OneLine(err.Error()))
}
