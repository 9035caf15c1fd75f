package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// deadFilter is a filter as the page sends it; its names are those of the page's address.
type deadFilter struct {
	ID    string  `json:"id"` // ids, separated by commas
	Topic string  `json:"topic"`
	Key   *string `json:"key"`
	Error string  `json:"error"`
	Type  string  `json:"type"`
	Since string  `json:"since"` // RFC 3339
	Until string  `json:"until"`
}

// LogValue implements [slog.LogValuer]: only what chooses is logged.
func (f deadFilter) LogValue() slog.Value {
	var given []slog.Attr
	for _, part := range []struct{ name, text string }{
		{"id", f.ID}, {"topic", f.Topic}, {"error", f.Error}, {"type", f.Type}, {"since", f.Since}, {"until", f.Until},
	} {
		if part.text != "" {
			given = append(given, slog.String(part.name, part.text))
		}
	}
	if f.Key != nil {
		given = append(given, slog.String("key", *f.Key))
	}
	return slog.GroupValue(given...)
}

// maxFilterIDs bounds how many ids a filter names.
const maxFilterIDs = 1000

func (f deadFilter) rows() (relay.DeadFilter, error) {
	filter := relay.DeadFilter{Topic: f.Topic, Key: f.Key, Error: f.Error, Type: f.Type}
	if f.ID != "" {
		for text := range strings.SplitSeq(f.ID, ",") {
			id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				return filter, errors.New("id: expected ids of rows, such as 42 or 42,43")
			}
			filter.IDs = append(filter.IDs, id)
		}
		if len(filter.IDs) > maxFilterIDs {
			return filter, fmt.Errorf("id: at most %d", maxFilterIDs)
		}
	}
	for _, bound := range []struct {
		name, text string
		at         *time.Time
	}{{"since", f.Since, &filter.Since}, {"until", f.Until, &filter.Until}} {
		if bound.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, bound.text)
		if err != nil {
			return filter, fmt.Errorf("%s: expected a time such as 2026-01-31T12:00:00Z", bound.name)
		}
		*bound.at = at
	}
	for _, text := range []string{f.Topic, f.Error, f.Type, keyText(f.Key)} {
		if strings.ContainsRune(text, 0) {
			return filter, errors.New("no text of a row has the character 0")
		}
	}
	return filter, nil
}

func keyText(key *string) string {
	if key == nil {
		return ""
	}
	return *key
}

// takesAll tells whether the filter takes every row that was dead when it was counted.
func (f deadFilter) takesAll() bool {
	f.Until = ""
	return f == deadFilter{}
}

// queryFilter reads a filter from an address, and the cursor after which to continue.
func queryFilter(q url.Values) (filter relay.DeadFilter, after int64, err error) {
	f := deadFilter{ID: q.Get("id"), Topic: q.Get("topic"), Error: q.Get("error"), Type: q.Get("type"), Since: q.Get("since"), Until: q.Get("until")}
	if q.Has("key") {
		key := q.Get("key")
		f.Key = &key
	}
	if after = relay.BeforeAllIDs; q.Get("after") != "" {
		if after, err = strconv.ParseInt(q.Get("after"), 10, 64); err != nil {
			return filter, 0, errors.New("after: expected the id of a row")
		}
	}
	filter, err = f.rows()
	return filter, after, err
}

var errTooLong = fmt.Errorf("the request has more than %d KiB: choose fewer ids, or the rows by something else", maxBody>>10)

// badBody is the status for what readBody did not take.
func badBody(err error) int {
	if errors.Is(err, errTooLong) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// readBody reads a request's JSON, strictly: what is misspelled must not choose all rows.
func readBody(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
			return errTooLong
		}
		return fmt.Errorf("read the request: %w", err)
	}
	if decoder.More() {
		return errors.New("read the request: there is more than one object")
	}
	return nil
}
