package schema_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

var tableNames = []struct {
	text  string
	table schema.Table
	shown string
}{
	{`outbox`, schema.Table{Schema: "public", Name: "outbox"}, `public.outbox`},
	{`Shop.OutBox`, schema.Table{Schema: "shop", Name: "outbox"}, `shop.outbox`},
	{`"Shop"."OutBox"`, schema.Table{Schema: "Shop", Name: "OutBox"}, `"Shop"."OutBox"`},
	{`shop . "out box"`, schema.Table{Schema: "shop", Name: "out box"}, `shop."out box"`},
	{`  outbox  `, schema.Table{Schema: "public", Name: "outbox"}, `public.outbox`},
	{`"say ""hi"".now"`, schema.Table{Schema: "public", Name: `say "hi".now`}, `public."say ""hi"".now"`},
	{`"a.b".c`, schema.Table{Schema: "a.b", Name: "c"}, `"a.b".c`},
	{`_out$1`, schema.Table{Schema: "public", Name: "_out$1"}, `public._out$1`},
	{`"1st"`, schema.Table{Schema: "public", Name: "1st"}, `public."1st"`},
	{`"$outbox$"`, schema.Table{Schema: "public", Name: "$outbox$"}, `public."$outbox$"`},
	{`Straße`, schema.Table{Schema: "public", Name: "straße"}, `public.straße`},
	{`ÄPFEL`, schema.Table{Schema: "public", Name: "Äpfel"}, `public.Äpfel`},
	{strings.Repeat("a", 63), schema.Table{Schema: "public", Name: strings.Repeat("a", 63)}, "public." + strings.Repeat("a", 63)},
}

func TestParseTableFollowsSQLIdentifierSyntax(t *testing.T) {
	for _, c := range tableNames {
		table, err := schema.ParseTable(c.text)
		if err != nil || table != c.table {
			t.Errorf("ParseTable(%s) = %+v, %v, want %+v", c.text, table, err, c.table)
		}
		if shown := table.String(); shown != c.shown {
			t.Errorf("ParseTable(%s).String() = %s, want %s", c.text, shown, c.shown)
		}
	}
}

// PostgreSQL itself is the judge of what a name means.
func TestParseTableAgreesWithTheServer(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	for _, c := range tableNames {
		want := []string{c.table.Name}
		if c.table.Schema != "public" {
			want = []string{c.table.Schema, c.table.Name}
		}
		if got := value[[]string](t, conn, "SELECT parse_ident($1)", c.text); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("the server reads %s as %q, ParseTable as %q", c.text, got, want)
		}
		if got := value[[]string](t, conn, "SELECT parse_ident($1)", c.table.Quoted()); len(got) != 2 ||
			got[0] != c.table.Schema || got[1] != c.table.Name {
			t.Errorf("the server reads %s as %q", c.table.Quoted(), got)
		}
	}
}

func TestParseTableSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		``:                         `OUTBOX_TABLE="" is not a table name: a name is missing: write name or schema.name`,
		`shop.`:                    `a name is missing`,
		`.outbox`:                  `a name is missing`,
		`my-outbox`:                `'-' cannot stand there in a name without quotes: put the name in double quotes`,
		`1st`:                      `'1' cannot stand there in a name without quotes`,
		`'outbox'`:                 `'\'' cannot stand there in a name without quotes`,
		`out box`:                  `unexpected "box" after out: write schema.name, and names with spaces in double quotes`,
		`"a"b`:                     `unexpected "b" after a`,
		`shop.out box`:             `unexpected "box" after out`,
		`"outbox`:                  `a double quote is not closed`,
		`""`:                       `a name is empty`,
		`db.shop.outbox`:           `it has more than two parts: write schema.name, the database is chosen by OUTBOX_DATABASE_URL`,
		strings.Repeat("a", 64):    `has 64 bytes, PostgreSQL takes at most 63: choose a shorter name`,
		strings.Repeat("ä", 32):    `has 64 bytes`,
		"\"a\x00b\"":               `contains a control character`,
		"\"a\nb\"":                 `contains a control character`,
		"a\xffb":                   `is not valid UTF-8`,
		`outbox; DROP TABLE users`: `';' cannot stand there`,
	} {
		_, err := schema.ParseTable(text)
		if err == nil {
			t.Errorf("ParseTable(%q): no error, want %q", text, want)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "OUTBOX_TABLE=") {
			t.Errorf("ParseTable(%q): %v, want %q", text, err, want)
		}
	}
}

func FuzzParseTableReadsBackWhatStringWrites(f *testing.F) {
	for _, c := range tableNames {
		f.Add(c.text)
	}
	f.Add(`a."`)
	f.Add("\"a\x80\"")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := schema.ParseTable(text)
		if err != nil {
			return
		}
		for _, form := range []string{table.String(), table.Quoted()} {
			if again, err := schema.ParseTable(form); err != nil || again != table {
				t.Errorf("%q is %+v, written as %s, read back as %+v, %v", text, table, form, again, err)
			}
		}
	})
}

func TestParsePayloadType(t *testing.T) {
	for _, p := range []schema.PayloadType{schema.PayloadJSON, schema.PayloadJSONB, schema.PayloadText, schema.PayloadBytea} {
		if got, err := schema.ParsePayloadType(string(p)); got != p || err != nil {
			t.Errorf("ParsePayloadType(%q) = %q, %v", p, got, err)
		}
	}
	if _, err := schema.ParsePayloadType("xml"); err == nil ||
		err.Error() != `payload type "xml" is unknown: choose json, jsonb, text or bytea` {
		t.Errorf("ParsePayloadType(xml): %v", err)
	}
}
