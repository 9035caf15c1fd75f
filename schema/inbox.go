package schema

import (
	_ "embed"
	"fmt"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

//go:embed inbox.sql
var inboxSQL string

// DefaultInbox is the table that [InboxSQL] makes unless another is named.
var DefaultInbox = Table{Schema: "public", Name: "processed_messages"}

// ParseInbox reads the name of an inbox, as [ParseTable] does that of an outbox.
func ParseInbox(s string) (Table, error) {
	t, err := scanTable(s)
	if err != nil {
		return Table{}, fmt.Errorf("%q is not a table name: %w", s, err)
	}
	return t, nil
}

// InboxSQL returns the script that makes an inbox: a table in a consumer's database, which
// has the ids of the messages that it has processed, and the function that purges it.
func InboxSQL(inbox Table) string {
	values := map[string]string{
		"inbox_index":    sqltext.Identifier(inbox.derive("processed_idx")),
		"purge_function": inbox.function("purge"),
	}
	addTable(values, inbox)
	return expand(inboxSQL, values)
}
