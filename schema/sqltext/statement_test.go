package sqltext_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

var files = sqltext.Parse(fstest.MapFS{
	"parts.sql": {Data: []byte(`{{define "open"}}sent_at IS NULL{{end}}`)},
	"rows.sql": {Data: []byte(`-- Why it is asked, with an @example.
SELECT id FROM {{.Table}}
	-- And more of that.
	WHERE id > @after AND id < @before AND tags @> '{}' AND id <> @after AND {{template "open"}}
`)},
}, "*.sql")

func TestStatementHasNoCommentsAndItsBlanksFilled(t *testing.T) {
	t.Parallel()
	sql, params := files.Statement("rows", struct{ Table string }{`"outbox"`}).Numbered()
	const want = `SELECT id FROM "outbox"
	WHERE id > $1 AND id < $2 AND tags @> '{}' AND id <> $1 AND sent_at IS NULL`
	if sql != want {
		t.Errorf("got %s\nwant %s", sql, want)
	}
	if !slices.Equal(params, []string{"after", "before"}) {
		t.Errorf("parameters: %v", params)
	}
}

func TestMissingBlankPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a statement without the table's name")
		}
	}()
	files.Statement("rows", struct{ Name string }{})
}
