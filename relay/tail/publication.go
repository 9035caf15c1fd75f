package tail

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

var publicationStatement = statements.Statement("publication", nil)

// CheckPublication checks whether the publication sends all rows that are inserted into
// the table, and returns an [UnavailableError] with [ReasonPublication] if not. Nothing
// else would show it: PostgreSQL sends nothing of a table that the publication lacks,
// and 18 only sends a notice if the publication itself is missing. It works on any idle
// session, for replication or not.
func CheckPublication(ctx context.Context, pg *pgconn.PgConn, publication string, table schema.Table) error {
	facts, err := all[publicationFacts](ctx, pg, publicationStatement, namedPublication(publication, table))
	if err != nil {
		return fmt.Errorf("look up publication %s: %w", sqltext.Identifier(publication), err)
	}
	return judgePublication(facts, publication, table)
}

// namedPublication are the parameters of [publicationStatement].
func namedPublication(publication string, table schema.Table) sqltext.Args {
	wire := make([]string, 0, columns)
	for c := range columns {
		wire = append(wire, c.String())
	}
	given := named(table)
	given["publication"], given["columns"] = publication, "{"+strings.Join(wire, ",")+"}"
	return given
}

// judgePublication returns an [UnavailableError] if the facts are not as needed. No facts mean
// that the publication does not exist.
func judgePublication(facts []publicationFacts, publication string, table schema.Table) error {
	name, text := sqltext.Identifier(publication), ""
	if len(facts) == 0 {
		text = fmt.Sprintf("publication %s does not exist: run outbox-relay migrate", name)
	} else {
		text = facts[0].fault(name, table)
	}
	if text != "" {
		return &UnavailableError{Reason: ReasonPublication, Text: text}
	}
	return nil
}

// publicationFacts is what the catalogs say.
type publicationFacts struct {
	Inserts bool // it publishes INSERT
	Covers  bool // it has the table
	Filters bool // not all rows
	Lacks   bool // not all columns of the wire
	Splits  bool // a partitioned table, sent as its partitions
}

// fault is what is wrong, and what to run; empty if nothing is.
func (f publicationFacts) fault(publication string, table schema.Table) string {
	switch {
	case f.Splits:
		return fmt.Sprintf("publication %s sends the partitions of table %s under their own names: "+
			"run ALTER PUBLICATION %[1]s SET (publish_via_partition_root = true)", publication, table)
	case !f.Covers:
		return fmt.Sprintf("publication %s lacks table %s: run outbox-relay migrate, or ALTER PUBLICATION %[1]s ADD TABLE %[3]s",
			publication, table, table.Quoted())
	case !f.Inserts:
		return fmt.Sprintf("publication %s does not publish INSERT: run ALTER PUBLICATION %[1]s SET (publish = 'insert')", publication)
	case f.Filters, f.Lacks:
		return fmt.Sprintf("publication %s has a row filter or a column list for table %s: "+
			"run ALTER PUBLICATION %[1]s DROP TABLE %[3]s, and then ALTER PUBLICATION %[1]s ADD TABLE %[3]s",
			publication, table, table.Quoted())
	}
	return ""
}
