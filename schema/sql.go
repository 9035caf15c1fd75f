package schema

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

//go:embed outbox.sql
var outboxSQL string

//go:embed role.sql
var roleSQL string

//go:embed blockers.sql
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
}

// RoleOptions say what the relay's role may do.
type RoleOptions struct {
	Table Table
	// Role is the real name, unquoted.
	Role string
	// Delete lets the role delete rows, for OUTBOX_RETENTION and OUTBOX_AFTER_SEND=delete.
	Delete bool
}

// SQL returns the whole migration as a script for psql or a migration tool:
// what [Migrate] runs, its BEGIN and COMMIT included.
func SQL(o Options) string {
	payload, expected := o.PayloadType, "{"+string(o.PayloadType)+"}"
	if payload == "" {
		payload, expected = PayloadJSON, "{json,jsonb,text,bytea}"
	}
	guard := sqltext.Identifier(o.Table.Schema) + "." + sqltext.Identifier(o.Table.Guard())
	values := map[string]string{
		"payload_type":     string(payload),
		"payload_expected": sqltext.Literal(expected),
		"guard_function":   guard,
		"guard_call":       sqltext.Literal(guard + "()"),
	}
	values["replay_call"] = sqltext.Literal(o.Table.ReplayFunction() + "(bigint[])")
	values["discard_call"] = sqltext.Literal(o.Table.DiscardFunction() + "(bigint[])")
	values["wake_channel"] = sqltext.Literal(o.Table.WakeChannel())
	addTable(values, o.Table)
	addName(values, "publication", cmp.Or(o.Publication, DefaultPublication))
	addName(values, "guard", o.Table.Guard())
	addName(values, "truncate_guard", o.Table.TruncateGuard())
	for i, kind := range []string{"due", "scheduled", "dead", "dead_key"} {
		index := o.Table.Indexes()[i]
		addName(values, kind+"_index", index.Name)
		values[kind+"_columns"], values[kind+"_rows"] = index.Columns, index.Rows
	}
	return expand(outboxSQL, values)
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

// TruncateGuard is the name of the trigger that guards against TRUNCATE.
func (t Table) TruncateGuard() string { return t.derive("truncate_guard") }

// ReplayFunction is the function that has dead rows sent again, for SQL.
func (t Table) ReplayFunction() string { return t.function("replay") }

// DiscardFunction is the function that deletes dead rows, for SQL.
func (t Table) DiscardFunction() string { return t.function("discard") }

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
	KeyHash = `hashtextextended(key COLLATE "C", 0)`
)

// Index is a partial index of the migration.
type Index struct {
	Name    string // unquoted
	Columns string // a list, as SQL
	Rows    string // the condition of the rows that it holds, as SQL
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
