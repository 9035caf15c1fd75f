package config

import "testing"

func TestSizes(t *testing.T) {
	for text, want := range map[string]struct {
		bytes   Bytes
		printed string
	}{
		"0":                   {0, "0"},
		"1":                   {1, "1"},
		"65536":               {1 << 16, "64KiB"},
		"64KiB":               {1 << 16, "64KiB"},
		"3 MiB":               {3 << 20, "3MiB"},
		"2GiB":                {2 << 30, "2GiB"},
		"10KB":                {10_000, "10000"},
		"10MB":                {10_000_000, "10000000"},
		"1GB":                 {1_000_000_000, "1000000000"},
		"9223372036854775807": {1<<63 - 1, "9223372036854775807"},
		"8589934591GiB":       {8589934591 << 30, "8589934591GiB"},
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want.bytes || b.String() != want.printed {
			t.Errorf("%q: %d, printed %q, %v; want %d, printed %q", text, int64(b), b, err, int64(want.bytes), want.printed)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "+1", "1.5MiB", "1mib", "1 M", "1  MiB", "0x10", "9223372036854775808", "8589934592GiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted as %d", text, int64(b))
		}
	}
}
