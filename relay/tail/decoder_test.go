package tail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

const (
	testRelation  = 16_400
	testCommitted = instant(800_000_000_000_000) // 2025-05-08 06:13:20
)

// inTransaction is a decoder that has read of the table and of a Begin.
func inTransaction(t *testing.T, list []wireColumn) *decoder {
	t.Helper()
	d := newTestDecoder()
	for _, b := range [][]byte{relationMessage(testRelation, testTable, list), beginMessage(7, testCommitted)} {
		if _, _, err := d.decode(held(b), 1); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// decodeRow decodes a row both ways, which must tell the same.
func decodeRow(t *testing.T, d *decoder, b []byte) (Event, error) {
	t.Helper()
	ev, ok, err := d.decode(held(b), 9)
	ev2, ok2, err2 := d.decode(streamed(b), 9)
	if ok != ok2 || !sameError(err, err2) || ok && !sameEvent(ev, ev2) {
		t.Fatalf("held in memory: %+v %v %v, taken off the connection: %+v %v %v", ev, ok, err, ev2, ok2, err2)
	}
	if ok == (err != nil) {
		t.Fatalf("row not told: %v", err)
	}
	return ev, err
}

func sameError(a, b error) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error())
}

// sameEvent compares defects by what they say.
func sameEvent(a, b Event) bool {
	if a.Message != nil && b.Message != nil {
		m, n := *a.Message, *b.Message
		if !sameError(m.Defect, n.Defect) {
			return false
		}
		m.Defect, n.Defect = nil, nil
		a.Message, b.Message = &m, &n
	}
	return reflect.DeepEqual(a, b)
}

func TestRowBecomesAMessage(t *testing.T) {
	ev, err := decodeRow(t, inTransaction(t, wireColumns()), newTextRow().message(testRelation))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := relay.ParseMessageID("6f9619ff-8b86-d011-b42d-00c04fc964ff")
	want := Event{
		Kind: Row, LSN: 9, XID: 7, CommitTime: time.Date(2025, 5, 8, 6, 13, 20, 0, time.UTC), Pending: true, Due: true,
		Message: &relay.Message{
			Ref: relay.Ref{ID: 42, MessageID: id}, Topic: "orders.created", Key: "order-7", Keyed: true,
			Payload: []byte(`{"a": 1}`), ContentType: "application/json",
			Headers:   []relay.Header{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}},
			CreatedAt: time.Date(2024, 2, 29, 12, 34, 56, 789_000_000, time.UTC),
			DueSince:  time.Date(2025, 5, 8, 6, 13, 20, 0, time.UTC),
			Size:      relay.MessageOverhead + 14 + 7 + 8 + 16 + 4*20,
		},
	}
	if !reflect.DeepEqual(ev, want) {
		t.Errorf("got %+v %+v\nwant %+v %+v", ev, ev.Message, want, want.Message)
	}
}

func TestPendingAndDueAreReadFromTheRow(t *testing.T) {
	for _, c := range []struct {
		name         string
		column       column
		text         string
		pending, due bool
		available    string
	}{
		{"sent", columnSentAt, "2024-01-01 00:00:00+00", false, true, ""},
		{"dead", columnDeadAt, "2024-01-01 00:00:00+00", false, true, ""},
		{"due long ago", columnAvailableAt, "-infinity", true, true, ""},
		{"due at the commit", columnAvailableAt, "2025-05-08 06:13:20+00", true, true, ""},
		{"due a microsecond after it", columnAvailableAt, "2025-05-08 06:13:20.000001+00", true, false, "2025-05-08 06:13:20.000001"},
		{"never", columnAvailableAt, "infinity", true, false, ""},
		{"in a far year", columnAvailableAt, "200000-01-01 00:00:00+00", true, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := newTextRow()
			row[c.column] = []byte(c.text)
			ev, err := decodeRow(t, inTransaction(t, wireColumns()), row.message(testRelation))
			if err != nil || ev.Pending != c.pending || ev.Due != c.due {
				t.Fatalf("pending %v, due %v (%v)", ev.Pending, ev.Due, err)
			}
			available := ""
			if !ev.AvailableAt.IsZero() {
				available = ev.AvailableAt.Format("2006-01-02 15:04:05.999999")
			}
			m := ev.Message
			if available != c.available || m.Key != "order-7" || (m.Payload != nil) != (c.pending && c.due) {
				t.Errorf("available %q, message %+v", available, m)
			}
		})
	}
}

func TestDefectsAndNotesAreThoseOfAPass(t *testing.T) {
	big := strings.Repeat("x", relay.MaxPlain)
	for _, c := range []struct {
		name       string
		column     column
		text       []byte
		defect     string
		note, size bool // the size is the overhead and more
	}{
		{"no payload", columnPayload, nil, "the payload is NULL", false, true},
		{"headers an array", columnHeaders, []byte(`["a"]`), "headers are an array, not an object of strings", false, true},
		{"a header a number", columnHeaders, []byte(`{"n": 1}`), `header "n" is a number, not a string`, false, true},
		{"malformed traceparent", columnHeaders, []byte(`{"traceparent": "x"}`), "", true, true},
		{"long key", columnKey, []byte(big), "topic, key, content type and headers together take 4194414 bytes", false, false},
		{"longer key", columnKey, []byte(big + "x"), "topic, key, content type and headers together take 4194415 bytes", false, false},
		{"payload over the limit", columnPayload, []byte("123456789"), "the payload takes 9 bytes or more, the limit is 8", false, true},
		{"payload at the limit", columnPayload, []byte("12345678"), "", false, true},
		{"empty payload", columnPayload, []byte{}, "", false, true},
		{"no headers", columnHeaders, nil, "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := inTransaction(t, wireColumns())
			d.limit = func() int64 { return 8 }
			row := newTextRow()
			row[c.column] = c.text
			ev, err := decodeRow(t, d, row.message(testRelation))
			if err != nil {
				t.Fatal(err)
			}
			m := ev.Message
			if (m.Note != "") != c.note || (m.Size > relay.MessageOverhead) != c.size || (m.Payload == nil) != (c.defect != "") {
				t.Errorf("note %q, size %d, payload %q", m.Note, m.Size, m.Payload)
			}
			switch {
			case c.defect == "" && m.Defect != nil, c.defect != "" && (m.Defect == nil || !strings.HasPrefix(m.Defect.Error(), c.defect)):
				t.Errorf("defect %v, want %s", m.Defect, c.defect)
			case strings.Contains(c.defect, "take") && !errors.Is(m.Defect, relay.ErrTooLarge):
				t.Errorf("defect %v does not wrap ErrTooLarge", m.Defect)
			}
		})
	}
}

func TestBytesOfAByteaPayload(t *testing.T) {
	list := wireColumns()
	list[columnPayload].oid = oidBytea
	d := inTransaction(t, list)
	d.limit = func() int64 { return 3 }
	for text, want := range map[string]string{`\x`: "", `\x00ff7A`: "\x00\xffz"} {
		row := newTextRow()
		row[columnPayload] = []byte(text)
		ev, err := decodeRow(t, d, row.message(testRelation))
		if err != nil || ev.Message.Payload == nil || string(ev.Message.Payload) != want {
			t.Errorf("%s: %q (%v)", text, ev.Message.Payload, err)
		}
	}
	row := newTextRow()
	row[columnPayload] = []byte(`\x00ff7a00`)
	if ev, err := decodeRow(t, d, row.message(testRelation)); err != nil || !errors.Is(ev.Message.Defect, relay.ErrTooLarge) {
		t.Errorf("defect %v (%v)", ev.Message.Defect, err)
	}
	for _, text := range []string{"", `\`, "00ff", `\x0`, `\x0g`, `\\000`} {
		row[columnPayload] = []byte(text)
		if _, err := decodeRow(t, d, row.message(testRelation)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestColumnsOfTheApplicationAreIgnoredWhereverTheyStand(t *testing.T) {
	row := newTextRow()
	list := append([]wireColumn{{"blob", oidBytea}}, wireColumns()...)
	values := append([][]byte{bytes.Repeat([]byte("x"), 100_000)}, row[:]...)
	ev, err := decodeRow(t, inTransaction(t, list), insertMessage(testRelation, values...))
	if err != nil || ev.Message.ID != 42 || string(ev.Message.Payload) != `{"a": 1}` {
		t.Errorf("%+v (%v)", ev.Message, err)
	}
}

func TestShapeThatTheRelayCannotReadIsNamed(t *testing.T) {
	list := wireColumns()
	list = append(list[:columnKey], list[columnKey+1:]...)
	list[0].oid = oidInt4
	d := newTestDecoder()
	_, _, err := d.decode(held(relationMessage(testRelation, testTable, list)), 1)
	e, ok := errors.AsType[*UnavailableError](err)
	if !ok || e.Reason != ReasonShape || !strings.Contains(e.Text, "column id is of another type (oid 23), expected bigint; column key is missing") {
		t.Fatal(err)
	}
	// A domain counts as what it is made of, as far as it is known.
	list = wireColumns()
	list[columnPayload].oid = 20_000
	if _, _, err = d.decode(held(relationMessage(testRelation, testTable, list)), 1); err == nil {
		t.Error("a payload of an unknown type is taken for text")
	}
	d.domains = map[typeID]typeID{20_000: oidBytea}
	if _, _, err = d.decode(held(relationMessage(testRelation, testTable, list)), 1); err != nil || !d.layout.bytea {
		t.Errorf("a domain over bytea: %v", err)
	}
}

func TestRowsOfOtherTablesAreIgnored(t *testing.T) {
	d := inTransaction(t, wireColumns())
	told := func(id uint32) bool {
		t.Helper()
		_, ok, err := d.decode(held(newTextRow().message(id)), 1)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	relation := func(id uint32, s, name string) {
		t.Helper()
		_, _, err := d.decode(held(relationMessage(id, schema.Table{Schema: s, Name: name}, wireColumns())), 1)
		if err != nil {
			t.Fatal(err)
		}
	}
	relation(2, "public", "Outbox")
	relation(3, "shop", "outbox")
	if told(2) || told(3) || !told(testRelation) {
		t.Error("a table was taken for another")
	}
	relation(testRelation, "public", "outbox_old")
	if told(testRelation) {
		t.Error("a renamed table is still the outbox")
	}
	relation(4, "public", "outbox")
	if !told(4) || told(testRelation) {
		t.Error("the table that took the name is not the outbox")
	}
	d.table.Schema = "pg_catalog"
	relation(5, "", "outbox")
	if !told(5) {
		t.Error("the schema pg_catalog is sent as an empty name")
	}
}

// Nothing can name such a row. No pass sees it either, so the log is left with a
// reason that says what to do.
func TestRowWithoutAnIDEndsTheTail(t *testing.T) {
	d := inTransaction(t, wireColumns())
	_, ok, err := d.decode(held(insertMessage(testRelation, make([][]byte, columns)...)), 1)
	if u, is := errors.AsType[*UnavailableError](err); ok || !is || u.Reason != ReasonShape || !strings.Contains(u.Text, "primary key") {
		t.Errorf("told %v: %v", ok, err)
	}
}

func TestMessagesThatPostgreSQLDoesNotSendAreErrors(t *testing.T) {
	list, row := wireColumns(), newTextRow()
	insert := row.message(testRelation)
	with := func(c column, text string) []byte {
		changed := row
		changed[c] = []byte(text)
		return changed.message(testRelation)
	}
	replace := func(offset int, b ...byte) []byte {
		changed := bytes.Clone(insert)
		copy(changed[offset:], b)
		return changed
	}
	const tuple = 1 + 4 + 1 // where its number of columns stands
	for name, b := range map[string][]byte{
		"empty":               {},
		"unknown kind":        {'?'},
		"begin in a begin":    beginMessage(8, 0),
		"short":               insert[:len(insert)-1],
		"an update's tuple":   replace(5, 'K'),
		"too few columns":     replace(tuple, 0, 3),
		"a binary value":      replace(tuple+2, valueBinary),
		"an unchanged value":  replace(tuple+2, valueUnchanged),
		"a value of no kind":  replace(tuple+2, '!'),
		"a negative length":   replace(tuple+3, 0xff, 0xff, 0xff, 0xff),
		"a length too long":   replace(tuple+3, 0x7f, 0xff, 0xff, 0xff),
		"an id of letters":    with(columnID, "x"),
		"no uuid":             with(columnMessageID, "6f9619ff"),
		"attempts of letters": with(columnAttempts, "many"),
		"a date":              with(columnCreatedAt, "yesterday"),
		"another date":        with(columnAvailableAt, "01/02/2024 00:00:00 UTC"),
		"an endless name":     append([]byte{'R', 0, 0, 0, 1}, bytes.Repeat([]byte("n"), 5000)...),
		"a relation too wide": binary.BigEndian.AppendUint16([]byte("R\x00\x00\x00\x01s\x00t\x00d"), 0xffff),
	} {
		d, d2 := inTransaction(t, list), inTransaction(t, list)
		_, ok, err := d.decode(held(b), 1)
		_, ok2, err2 := d2.decode(streamed(b), 1)
		if ok || ok2 || !errors.Is(err, ErrProtocol) || !errors.Is(err2, ErrProtocol) {
			t.Errorf("%s: told %v %v, error %v, from the connection %v", name, ok, ok2, err, err2)
		}
	}
	d := newTestDecoder()
	for name, b := range map[string][]byte{"a row": insert, "a commit": commitMessage()} {
		if _, _, err := d.decode(held(b), 1); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s without a begin: %v", name, err)
		}
	}
}
