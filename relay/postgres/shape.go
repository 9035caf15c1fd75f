package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/schema"
)

// needed are the columns that the migration gives to no table that lacks them:
// such a table is another one.
var needed = []string{"id", "message_id", "topic", "payload"}

// guarded are the columns that the guard's trigger names. PostgreSQL retypes none
// of them while it does.
var guarded = []string{
	"id", "message_id", "topic", "key", "payload", "content_type", "headers", "created_at", "available_at",
}

// mendShape is what brings the columns into shape.
func mendShape(table schema.Table, columns []column) string {
	var lines []string
	missing, unguarded := false, false
	for _, c := range columns {
		alter := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s ", table.Quoted(), c.name)
		switch {
		case !c.exists && slices.Contains(needed, c.name):
			return fmt.Sprintf("set OUTBOX_TABLE to the outbox table's name, or add column %s of type %s to %s",
				c.name, c.types[0], table)
		case !c.exists:
			missing = true
		case !slices.Contains(c.types, c.is):
			if slices.Contains(guarded, c.name) && !unguarded {
				unguarded = true
				lines = append(lines, fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %s;", schema.QuoteIdentifier(table.Guard()), table.Quoted()))
			}
			lines = append(lines, alter+fmt.Sprintf("TYPE %s USING %s::%[1]s;", c.types[0], c.name))
		case c.filled && !c.notNull:
			lines = append(lines, alter+"SET NOT NULL;  -- after the rows without a value have been filled or deleted")
		}
	}
	if missing || unguarded {
		lines = append(lines, mendMigrate)
	}
	return strings.Join(lines, "\n")
}
