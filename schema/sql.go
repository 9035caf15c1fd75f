package schema

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

//go:embed outbox.sql
var outboxSQL string

//go:embed role.sql
var roleSQL string

//go:embed indexes.sql
var indexesSQL string

//go:embed uninstall.sql
var uninstallSQL string

//go:embed adopt.sql
var adoptSQL string

//go:embed lookup/*.sql
var lookUps embed.FS

// dollarTag opens and closes the blocks of the SQL files.
const dollarTag = "outbox"

// DefaultPublication is the default of OUTBOX_PUBLICATION.
const DefaultPublication = "outbox_relay"

// Options say which table is meant, and how it is made.
type Options struct {
	Table Table
	// PayloadType of the payload column. Empty: json for a new table, and an
	// existing one keeps what it has. Given: an existing table must have it.
	PayloadType PayloadType
	// Publication is the real name, unquoted, of the publication that gets the
	// table; it is made if missing. Empty: [DefaultPublication].
	Publication string
	// Patience is how long [Migrate] tries for a lock that others hold. Zero: until its
	// context ends.
	Patience time.Duration
	// Tell is told by [Migrate] what takes long: which index it builds, how far it is,
	// and for whom it waits. Nil: nobody is.
	Tell func(message string)
	// Environment is noted beside the table by the first migration, see [Note]. Empty: none.
	Environment string
}

// RoleOptions say what the relay's role may do.
type RoleOptions struct {
	Table Table
	// Role is the real name, unquoted.
	Role string
	// Delete lets the role delete rows, for OUTBOX_RETENTION and OUTBOX_AFTER_SEND=delete.
	Delete bool
}

// SQL returns the migration as a script for psql or a migration tool: what [Migrate] runs
// first, its BEGIN and COMMIT included. For a table that is large already [IndexSQL] is the
// rest.
func SQL(o Options) string {
	payload, expected := o.PayloadType, "{"+string(o.PayloadType)+"}"
	if payload == "" {
		payload, expected = PayloadJSON, "{json,jsonb,text,bytea}"
	}
	values := map[string]string{
		"environment":      sqltext.Literal(o.Environment),
		"payload_type":     string(payload),
		"payload_expected": sqltext.Literal(expected),
	}
	addObjects(values, o)
	values["is_small"], values["lock_out_vacuum"] = isSmall(o.Table), lockOutVacuum(o.Table)
	values["due_condition"], values["scheduled_condition"], values["dead_condition"] = Due, Scheduled, Dead
	addDropPartitions(values, o.Table)
	values["send_function"] = sqltext.Literal(o.Table.SendFunction())
	values["wake_channel"] = sqltext.Literal(o.Table.WakeChannel())
	addName(values, "attempts_check", o.Table.derive("attempts_check"))
	for i, kind := range []string{"due", "scheduled", "dead", "dead_key"} {
		index := o.Table.Indexes()[i]
		addName(values, kind+"_index", index.Name)
		values[kind+"_columns"], values[kind+"_rows"] = sqltext.Literal(index.Columns), sqltext.Literal(index.Rows)
	}
	return expand(strings.Replace(outboxSQL, "{{drop_partitions}}", dropPartitionsSQL, 1), values)
}

// addObjects adds the names of the table and of what the migration makes beside it.
func addObjects(values map[string]string, o Options) {
	guard := sqltext.Identifier(o.Table.Schema) + "." + sqltext.Identifier(o.Table.Guard())
	values["guard_function"], values["guard_call"] = guard, sqltext.Literal(guard+"()")
	values["replay_call"] = sqltext.Literal(o.Table.ReplayFunction() + "(bigint[])")
	values["discard_call"] = sqltext.Literal(o.Table.DiscardFunction() + "(bigint[])")
	values["send_call"] = sendCall(o.Table)
	values["drop_partitions_call"] = sqltext.Literal(o.Table.DropPartitionsFunction() + "(interval)")
	addTable(values, o.Table)
	addName(values, "publication", cmp.Or(o.Publication, DefaultPublication))
	addName(values, "guard", o.Table.Guard())
	addName(values, "dead_guard", o.Table.DeadGuard())
	addName(values, "truncate_guard", o.Table.TruncateGuard())
}

// UninstallSQL returns a script that takes back what the migration has made. The table
// stays, with its rows, unless dropTable is set. Then the script fails if a row is not sent.
func UninstallSQL(o Options, dropTable bool) string {
	values := map[string]string{"relays": sqltext.Literal("outbox-relay " + o.Table.String() + " ")}
	addObjects(values, o)
	var rest []string
	if dropTable {
		rest = append(rest,
			"LOCK TABLE "+o.Table.Quoted()+" IN ACCESS EXCLUSIVE MODE;",
			"IF EXISTS (SELECT FROM "+o.Table.Quoted()+" WHERE sent_at IS NULL) THEN",
			"  RAISE EXCEPTION 'table % has rows that are not sent', "+values["table_text"],
			"    USING ERRCODE = 'object_in_use', HINT = 'Let a relay send them, or delete them, and run this again.';",
			"END IF;",
			"DROP TABLE "+o.Table.Quoted()+";")
	} else {
		for _, index := range o.Table.Indexes() {
			rest = append(rest, "DROP INDEX IF EXISTS "+Table{Schema: o.Table.Schema, Name: index.Name}.Quoted()+";")
		}
	}
	values["rest"] = strings.Join(rest, "\n  ")
	return expand(uninstallSQL, values)
}

// IndexSQL returns the statements that build the indexes of a table which is not divided
// into partitions, beside the application's writes. None of them may run in a transaction.
func IndexSQL(t Table) string {
	var script strings.Builder
	script.WriteString(indexesSQL)
	for _, index := range t.Indexes() {
		fmt.Fprintf(&script, "%s;\n", index.create("CONCURRENTLY IF NOT EXISTS", t.Quoted()))
	}
	return script.String()
}

// smallBytes is the size of a table whose indexes are built in the migration's transaction:
// some thousand rows, and a moment.
const smallBytes = 8 << 20

// isSmall is SQL that says whether the table is.
func isSmall(t Table) string {
	return fmt.Sprintf(`(SELECT coalesce(sum(pg_relation_size(relid)), 0) < %d
      FROM (SELECT to_regclass(%[2]s) UNION SELECT relid FROM pg_partition_tree(%[2]s)) AS parts (relid))`,
		smallBytes, sqltext.Literal(t.Quoted()))
}

// lockOutVacuum comes before whatever needs a lock. Autovacuum has one that is in its way,
// for as long as a large table takes, and gives it up only to who has waited for
// deadlock_timeout; by then the application would have waited as long. To wait for this lock
// keeps no statement of the application waiting, and once it is there no vacuum begins. Twice
// deadlock_timeout would be too long: a CREATE INDEX CONCURRENTLY, which waits for this
// transaction, would be taken for the victim of a deadlock.
func lockOutVacuum(t Table) string {
	return `PERFORM set_config('lock_timeout', (setting::integer * 3 / 2)::text, true) FROM pg_settings WHERE name = 'deadlock_timeout';
    LOCK TABLE ` + t.Quoted() + ` IN SHARE UPDATE EXCLUSIVE MODE;
    SET LOCAL lock_timeout = '400ms';`
}

// RoleSQL returns the script that makes the relay's role and grants it what it
// needs: what [GrantRole] runs. It holds no password.
func RoleSQL(o RoleOptions) string {
	values := map[string]string{"delete": strconv.FormatBool(o.Delete)}
	addTable(values, o.Table)
	addName(values, "role", o.Role)
	return expand(roleSQL, values)
}

// Guard is the name of the trigger that the migration puts on the table.
func (t Table) Guard() string { return t.derive("guard") }

// DeadGuard is the name of the trigger that keeps a row from being declared dead in the
// past by the transaction that inserted it.
func (t Table) DeadGuard() string { return t.derive("dead_guard") }

// TruncateGuard is the name of the trigger that guards against TRUNCATE.
func (t Table) TruncateGuard() string { return t.derive("truncate_guard") }

// ReplayFunction is the function that has dead rows sent again, for SQL.
func (t Table) ReplayFunction() string { return t.function("replay") }

// DiscardFunction is the function that deletes dead rows, for SQL.
func (t Table) DiscardFunction() string { return t.function("discard") }

// SendFunction is the function that inserts a row, for SQL.
func (t Table) SendFunction() string { return t.function("send") }

// sendCall is an expression for that function with the types of its arguments, of which
// one is the payload's.
func sendCall(t Table) string {
	const payload = "(SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'payload')"
	return sqltext.Literal(t.SendFunction()+"(text, ") + " || " + fmt.Sprintf(payload, sqltext.Literal(t.Quoted())) + " || ', text, jsonb, timestamptz)'"
}

func (t Table) function(suffix string) string {
	return sqltext.Identifier(t.Schema) + "." + sqltext.Identifier(t.derive(suffix))
}

// WakeChannel is where the relay is told that rows are due which the log does not tell
// of, such as replayed ones. The name needs no quoting.
func (t Table) WakeChannel() string {
	sum := sha256.Sum256([]byte("outbox-relay wake:" + t.Quoted()))
	return "outbox_relay_wake_" + hex.EncodeToString(sum[:8])
}

// What a row is, as SQL conditions. The partial indexes are made with them, and a
// statement that repeats one word for word is answered from its index.
const (
	// Pending rows are neither sent nor dead. Each is either due or scheduled.
	Pending = `sent_at IS NULL AND dead_at IS NULL`
	// Due rows may be sent now, or wait for a retry.
	Due = Pending + ` AND (available_at IS NULL OR attempts > 0)`
	// Scheduled rows have a time that the application has set, and were never tried.
	Scheduled = Pending + ` AND available_at IS NOT NULL AND attempts = 0`
	// Dead rows were given up.
	Dead = `sent_at IS NULL AND dead_at IS NOT NULL`
	// DeadOfKeys are those that may block a key. CASE hides that they are dead rows: a
	// statement that asks for a key is never answered from the index of those.
	DeadOfKeys = `CASE WHEN ` + Dead + ` THEN key IS NOT NULL ELSE false END`
	// KeyHash is what the index of dead rows has of a key.
	KeyHash = `pg_catalog.hashtextextended(key COLLATE pg_catalog."C", 0)`
)

// Index is a partial index of the migration.
type Index struct {
	Name    string // unquoted
	Columns string // a list, as SQL
	Rows    string // the condition of the rows that it holds, as SQL
}

// create is the statement that builds it; on is the quoted table, with ONLY or without.
func (i Index) create(how, on string) string {
	if how != "" {
		how += " "
	}
	return fmt.Sprintf("CREATE INDEX %s%s ON %s (%s) WHERE %s", how, sqltext.Identifier(i.Name), on, i.Columns, i.Rows)
}

// Indexes are the migration's partial indexes: of the due rows, of the scheduled
// ones, and of the dead ones, in two orders.
func (t Table) Indexes() [4]Index {
	return [4]Index{
		{Name: t.derive("due_idx"), Columns: "id", Rows: Due},
		{Name: t.derive("scheduled_idx"), Columns: "available_at, id", Rows: Scheduled},
		{Name: t.derive("dead_idx"), Columns: "id", Rows: Dead},
		t.DeadKeyIndex(),
	}
}

// DeadKeyIndex is the one of dead rows by their key.
func (t Table) DeadKeyIndex() Index {
	return Index{Name: t.derive("dead_key_idx"), Columns: KeyHash + ", id", Rows: DeadOfKeys}
}

// derive names an object that belongs to the table. Where the table's name
// leaves no room it is cut and gets a hash, so that two long names stay two.
func (t Table) derive(suffix string) string {
	name := t.Name + "_" + suffix
	if len(name) <= maxIdentifier {
		return name
	}
	sum := sha256.Sum256([]byte(t.Name))
	suffix = "_" + hex.EncodeToString(sum[:4]) + "_" + suffix
	stem := t.Name[:maxIdentifier-len(suffix)]
	for !utf8.ValidString(stem) {
		stem = stem[:len(stem)-1]
	}
	return stem + suffix
}

func addTable(values map[string]string, t Table) {
	values["table"] = t.Quoted()
	values["table_text"] = sqltext.Literal(t.Quoted())
	values["table_name"] = sqltext.Literal(t.Name)
	values["note"] = t.Note().Quoted()
	values["note_text"] = sqltext.Literal(t.Note().Quoted())
	addName(values, "schema", t.Schema)
}

// addName adds the three forms in which the scripts use a name: as SQL, as a
// string that holds that SQL, and as a string that holds the bare name.
func addName(values map[string]string, placeholder, name string) {
	quoted := sqltext.Identifier(name)
	values[placeholder] = quoted
	values[placeholder+"_text"] = sqltext.Literal(quoted)
	values[placeholder+"_name"] = sqltext.Literal(name)
}

// expand fills a script in. The values stand inside dollar-quoted blocks, so
// the blocks' tag changes while a value contains it.
func expand(script string, values map[string]string) string {
	pairs := make([]string, 0, 2*len(values)+2)
	tag := dollarTag
	for placeholder, value := range values {
		pairs = append(pairs, "{{"+placeholder+"}}", value)
	}
	for containsTag(values, tag) {
		tag += "_"
	}
	pairs = append(pairs, "$"+dollarTag+"$", "$"+tag+"$")
	return strings.NewReplacer(pairs...).Replace(script)
}

func containsTag(values map[string]string, tag string) bool {
	for _, value := range values {
		if strings.Contains(value, "$"+tag+"$") {
			return true
		}
	}
	return false
}
