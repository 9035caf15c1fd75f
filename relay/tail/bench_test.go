package tail

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

func BenchmarkDecode(b *testing.B) {
	d := newTestDecoder()
	for _, m := range [][]byte{relationMessage(testRelation, testTable, wireColumns()), beginMessage(7, testCommitted)} {
		if _, _, err := d.decode(held(m), 1); err != nil {
			b.Fatal(err)
		}
	}
	m := newTextRow().message(testRelation)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := d.decode(&input{held: m}, 1); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStream reads one transaction of b.N rows of 300 bytes from a real
// server, which decodes them meanwhile.
func BenchmarkStream(b *testing.B) {
	url := pgtest.Database(b)
	conn := pgtest.Connect(b, url)
	if err := schema.Migrate(b.Context(), conn, schema.Options{Table: testTable}); err != nil {
		b.Fatal(err)
	}
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), Options{Config: config, Table: testTable})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	_, err = conn.Exec(b.Context(), `INSERT INTO outbox (topic, key, payload)
		SELECT 'clicks', n % 1000, to_json(repeat('x', 298)) FROM generate_series(1, $1) AS n`, b.N)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < b.N; {
		ev, err := s.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if ev.Kind == Row {
			n++
		}
	}
}
