package tail

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

func TestInstantsAreReadAsPostgreSQLWritesThem(t *testing.T) {
	for text, want := range map[string]instant{
		"2000-01-01 00:00:00+00":          0,
		"2000-01-01 00:00:00.000001+00":   1,
		"2000-01-01 00:00:00.5+00":        500_000,
		"1999-12-31 23:59:59.999999+00":   -1,
		"1970-01-01 00:00:00+00":          -epoch,
		"2024-02-29 12:34:56.789+00":      762_525_296_789_000,
		"294276-12-31 23:59:59.999999+00": 9_223_371_331_199_999_999,
		"4714-11-24 00:00:00+00 BC":       -211_813_488_000_000_000,
		"infinity":                        endOfTime,
		"-infinity":                       beginningOfTime,
	} {
		if got, err := parseInstant([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "now", "2000-01-01", "2000-01-01 00:00:00", "2000-01-01 00:00:00+01", "01/02/2000 00:00:00+00",
		"2000-01-01T00:00:00+00", "2000-1-01 00:00:00+00", "2000-01-01 00:00:00.+00", "2000-01-01 00:00:00.1234567+00",
		"2000-13-01 00:00:00+00", "2000-01-32 00:00:00+00", "294277-01-01 00:00:00+00", "2000-01-01 00:00:00+00 AD",
	} {
		if got, err := parseInstant([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestEveryDayIsReadAsGoReadsIt(t *testing.T) {
	// The calendar repeats itself every 400 years.
	day := time.Date(1599, 1, 1, 0, 0, 0, 0, time.UTC)
	for day.Year() < 2001 {
		text := day.Format("2006-01-02 15:04:05") + "+00"
		if got, err := parseInstant([]byte(text)); err != nil || !got.time().Equal(day) {
			t.Fatalf("%s was read as %s (%v)", text, got.time(), err)
		}
		day = day.AddDate(0, 0, 1)
	}
}

func TestInstantsAgreeWithPostgreSQL(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	// Every 100,000,190,777,771 microseconds is once in about three years, at all
	// times of the day, from the first timestamp to far into the future.
	const sql = `SELECT at::text, (extract(epoch FROM at) * 1000000)::bigint - 946684800000000
		FROM (SELECT timestamptz '4714-11-24 00:00:00+00 BC' + n * interval '100000190.777771 s' AS at FROM generate_series(0, 92000) AS n) AS s`
	for _, set := range []string{"SET TimeZone = 'UTC'", "SET DateStyle = 'ISO, YMD'"} {
		if _, err := conn.Exec(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	var want int64
	tag, err := pgx.ForEachRow(rows, []any{&text, &want}, func() error {
		if got, err := parseInstant([]byte(text)); err != nil || int64(got) != want {
			return fmt.Errorf("%s: %d (%w), want %d", text, got, err, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(text, "286") {
		t.Errorf("%s: the last one was %s", tag, text)
	}
}

func FuzzInstant(f *testing.F) {
	f.Add("2024-02-29 12:34:56.789+00")
	f.Add("0044-03-15 00:00:00+00 BC")
	f.Add("9708-01-01 00:00:00+00")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseInstant([]byte(text))
		const form = "2006-01-02 15:04:05.999999-07"
		want, wrong := time.Parse(form, text)
		if wrong != nil || !strings.HasSuffix(text, "+00") || want.Format(form) != text {
			return // not what PostgreSQL writes, or not what Go reads
		}
		// By the number: late years have none of Go's times, see instant.time.
		if err != nil || int64(got) != want.UnixMicro()-epoch {
			t.Errorf("%s was read as %d (%v), by Go as %d", text, got, err, want.UnixMicro()-epoch)
		}
	})
}
