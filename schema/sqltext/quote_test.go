package sqltext_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

func TestNamesAndTextsAreQuoted(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`outbox`: `"outbox"`, `My "Table"`: `"My ""Table"""`, `it's`: `"it's"`, ``: `""`,
	} {
		if got := sqltext.Identifier(given); got != want {
			t.Errorf("identifier %s: got %s, want %s", given, got, want)
		}
	}
	for given, want := range map[string]string{
		`outbox`: `'outbox'`, `it's`: `'it''s'`, ``: `''`, `a\'b`: `E'a\\''b'`, `\`: `E'\\'`,
	} {
		if got := sqltext.Literal(given); got != want {
			t.Errorf("literal %s: got %s, want %s", given, got, want)
		}
	}
	if got := sqltext.ReplicationLiteral(`a\'b`); got != `'a\''b'` {
		t.Errorf("literal of a replication command: got %s", got)
	}
}
