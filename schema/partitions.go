package schema

import (
	_ "embed"
	"fmt"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// dropPartitionsSQL is the body of a function, which outbox.sql makes with format().
//
//go:embed drop_partitions.sql
var dropPartitionsSQL string

// DropPartitionsFunction is the function that drops partitions of sent rows, for the owner of
// a table that has partitions.
func (t Table) DropPartitionsFunction() string { return t.function("drop_partitions") }

// dropPartitionsSettings are those that the function has while it runs. Rows that a policy hides
// would be lost, so they are an error. The ends of partitions are read as they are printed. The
// last ones it changes itself, and their being here takes that back.
var dropPartitionsSettings = [][2]string{
	{"row_security", "off"}, {"DateStyle", "ISO, YMD"}, {"lock_timeout", "400ms"}, {"enable_seqscan", "on"},
}

// addDropPartitions adds the function and its settings: as SQL, and as the catalogs have them.
func addDropPartitions(values map[string]string, t Table) {
	values["drop_partitions_function"] = sqltext.Literal(t.DropPartitionsFunction())
	settings, config := "SET search_path = pg_catalog, pg_temp", `{"search_path=pg_catalog, pg_temp"`
	for _, s := range dropPartitionsSettings {
		settings += fmt.Sprintf(" SET %s = %s", s[0], sqltext.Literal(s[1]))
		config += fmt.Sprintf(`,"%s=%s"`, s[0], s[1])
	}
	values["drop_partitions_settings"], values["drop_partitions_config"] = sqltext.Literal(settings), sqltext.Literal(config+"}")
}
