package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// mixed inserts rows of the topics x and y: x with the keys a and b and without one, y
// with the keys a and c and without one; and a last row of x that has a time of its own.
func (f *fixture) mixed() {
	f.t.Helper()
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('x', 'a', '1'), ('y', 'a', '1'), ('x', NULL, '1'), ('y', NULL, '1'),
		('x', 'b', repeat('9', 20000)::json), ('y', 'c', '1'), ('x', 'b', '1'), ('x', 'a', '1')`)
	f.exec(`INSERT INTO {t} (topic, key, payload, available_at) VALUES ('x', 'd', '1', now() - interval '1 minute'), ('x', NULL, '1', now() - interval '1 minute')`)
}

// lefts are the ids of the rows that are left, with their keys.
func lefts(rows []relay.Row) []string {
	var of []string
	for _, row := range rows {
		if row.Left {
			of = append(of, fmt.Sprint(row.ID, row.Key))
		}
	}
	return of
}

// Of a topic of which no rows are wanted a chunk brings the keys, and nothing of rows that
// have none.
func TestChunkBringsTheKeysOfWhatIsNotWanted(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.mixed()
	_, s := f.lead()
	req := request(f.begin(s))
	req.TopicRows = map[string]int{"x": 0, "of nobody": 0}
	rows := f.drain(s, req)
	if got := ids(rows); !slices.Equal(got, []int64{1, 2, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("the pass brings %v", got)
	}
	if got := lefts(rows); !slices.Equal(got, []string{"1a", "5b", "7b", "8a", "9d"}) {
		t.Errorf("left are %v", got)
	}
	for _, row := range rows {
		if row.Left != (row.Topic == "") || row.Left != (row.Payload == nil) || row.Left && row.Size > 1000 {
			t.Errorf("row %d has topic %q, a payload of %d bytes and size %d", row.ID, row.Topic, len(row.Payload), row.Size)
		}
	}
	req.ExcludeKeys = []string{"a"}
	if got := ids(f.drain(s, req)); !slices.Equal(got, []int64{4, 5, 6, 7, 9}) {
		t.Errorf("without a key: %v", got)
	}
	req.ExcludeKeys, req.Unordered = nil, true
	if got := ids(f.drain(s, req)); !slices.Equal(got, []int64{2, 4, 6}) {
		t.Errorf("where no row waits for another: %v", got)
	}
	req.Unordered, req.TopicRows = false, map[string]int{"x": 1}
	if got := f.drain(s, req); len(got) != 10 || len(lefts(got)) > 0 {
		t.Errorf("while some are wanted: %v, left %v", ids(got), lefts(got))
	}
}

// A survey brings as many rows of a topic as are wanted, the keys of the others, and is
// complete.
func TestSurveyBringsAsManyRowsOfATopicAsAreWanted(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.mixed()
	_, s := f.lead()
	survey := func(wanted int) relay.Survey {
		req := everything()
		req.KeyRows, req.TopicRows = 100, map[string]int{"x": wanted}
		return f.survey(s, req)
	}
	for wanted, want := range map[int]struct {
		rows []int64
		left []relay.LeftRow
	}{
		0:  {[]int64{4, 6}, []relay.LeftRow{{ID: 1, Key: "a"}, {ID: 5, Key: "b"}, {ID: 9, Key: "d"}}},
		1:  {[]int64{1, 2, 4, 6}, []relay.LeftRow{{ID: 5, Key: "b"}, {ID: 8, Key: "a"}, {ID: 9, Key: "d"}}},
		10: {[]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, nil},
	} {
		v := survey(wanted)
		if !v.Complete || !slices.Equal(ids(v.Rows), want.rows) || !slices.Equal(v.Left, want.left) {
			t.Errorf("%d wanted: rows %v, left %v, want %v, %v", wanted, ids(v.Rows), v.Left, want.rows, want.left)
		}
	}
}

// A hundred thousand rows of a topic that nobody takes, each with a key of its own, keep no
// survey from being complete. Their keys are bounded by bytes.
func TestSurveyIsCompleteBesideAFullTopic(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT CASE n % 1000 WHEN 0 THEN 'y' ELSE 'x' END, 'key ' || n, '1' FROM generate_series(1, 100000) AS n`)
	_, s := f.lead()
	req := request(relay.Pass{})
	req.Rows, req.Bytes, req.KeyRows, req.TopicRows = 2000, 16<<20, 500, map[string]int{"x": 0}
	if v := f.survey(s, req); !v.Complete || len(v.Rows) != 100 || len(v.Left) != 99_900 {
		t.Errorf("complete: %t, %d rows, %d left", v.Complete, len(v.Rows), len(v.Left))
	}
	req.Bytes = 1 << 20
	if v := f.survey(s, req); v.Complete || len(v.Rows)+len(v.Left) > 0 {
		t.Errorf("complete: %t, %d rows, %d left, although their keys do not fit", v.Complete, len(v.Rows), len(v.Left))
	}
}
