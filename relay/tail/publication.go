package tail

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// CheckPublication checks whether the publication sends all rows that are inserted into
// the table, and returns an [UnavailableError] with [ReasonPublication] if not. Nothing
// else would show it: PostgreSQL sends nothing of a table that the publication lacks,
// and 18 only sends a notice if the publication itself is missing. It works on any idle
// session, for replication or not.
func CheckPublication(ctx context.Context, pg *pgconn.PgConn, publication string, table schema.Table) error {
	wire := make([]string, 0, columns)
	for c := range columns {
		wire = append(wire, c.String())
	}
	// Filters and column lists came with PostgreSQL 15; to_jsonb reads them where
	// there are any. Of a partitioned table the view lists the partitions, unless
	// the publication sends their rows as the table's own.
	rows, err := query(ctx, pg, `SELECT p.pubinsert, v.tablename IS NOT NULL,
			pg_catalog.to_jsonb(v)->>'rowfilter' IS NOT NULL,
			coalesce(NOT pg_catalog.to_jsonb(v)->'attnames' ?& '{`+strings.Join(wire, ",")+`}'::text[], false),
			coalesce((SELECT c.relkind = 'p' AND NOT p.pubviaroot FROM pg_catalog.pg_class c
				JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
				WHERE n.nspname = `+sqltext.Literal(table.Schema)+` AND c.relname = `+sqltext.Literal(table.Name)+`), false)
		FROM pg_catalog.pg_publication p LEFT JOIN pg_catalog.pg_publication_tables v
			ON v.pubname = p.pubname AND v.schemaname = `+sqltext.Literal(table.Schema)+` AND v.tablename = `+sqltext.Literal(table.Name)+`
		WHERE p.pubname = `+sqltext.Literal(publication))
	if err != nil {
		return fmt.Errorf("look up publication %s: %w", sqltext.Identifier(publication), err)
	}
	var facts publicationFacts
	for _, row := range rows {
		is := func(i int) bool { return string(row[i]) == "t" }
		facts = publicationFacts{exists: true, inserts: is(0), covers: is(1), filters: is(2), lacks: is(3), splits: is(4)}
	}
	if text := facts.fault(sqltext.Identifier(publication), table); text != "" {
		return &UnavailableError{Reason: ReasonPublication, Text: text}
	}
	return nil
}

// publicationFacts is what the catalogs say.
type publicationFacts struct {
	exists  bool
	inserts bool // it publishes INSERT
	covers  bool // it has the table
	filters bool // not all rows
	lacks   bool // not all columns of the wire
	splits  bool // a partitioned table, sent as its partitions
}

// fault is what is wrong, and what to run; empty if nothing is.
func (f publicationFacts) fault(publication string, table schema.Table) string {
	switch {
	case !f.exists:
		return fmt.Sprintf("publication %s does not exist: run outbox-relay migrate", publication)
	case f.splits:
		return fmt.Sprintf("publication %s sends the partitions of table %s under their own names: "+
			"run ALTER PUBLICATION %[1]s SET (publish_via_partition_root = true)", publication, table)
	case !f.covers:
		return fmt.Sprintf("publication %s lacks table %s: run outbox-relay migrate, or ALTER PUBLICATION %[1]s ADD TABLE %[3]s",
			publication, table, table.Quoted())
	case !f.inserts:
		return fmt.Sprintf("publication %s does not publish INSERT: run ALTER PUBLICATION %[1]s SET (publish = 'insert')", publication)
	case f.filters, f.lacks:
		return fmt.Sprintf("publication %s has a row filter or a column list for table %s: "+
			"run ALTER PUBLICATION %[1]s DROP TABLE %[3]s, and then ALTER PUBLICATION %[1]s ADD TABLE %[3]s",
			publication, table, table.Quoted())
	}
	return ""
}
