package wal

import (
	"math"
	"testing"
)

func TestLSNReadsBackWhatItWrites(t *testing.T) {
	for text, want := range map[string]LSN{
		"0/0":               0,
		"0/A":               10,
		"16/B374D848":       0x16_B374D848,
		"FFFFFFFF/FFFFFFFF": math.MaxUint64,
	} {
		got, err := ParseLSN(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: read %d (%v), written %s", text, got, err, got)
		}
	}
	for _, text := range []string{"", "/", "1", "1/", "/1", "1/2/3", "g/0", "-1/0", "+1/0", "0x1/0", "1/1_0", "100000000/0", "0/123456789", " 1/0"} {
		if got, err := ParseLSN(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

func FuzzParseLSN(f *testing.F) {
	f.Add("16/B374D848")
	f.Add("0/")
	f.Fuzz(func(t *testing.T, text string) {
		lsn, err := ParseLSN(text)
		if err != nil {
			return
		}
		if again, err := ParseLSN(lsn.String()); err != nil || again != lsn {
			t.Errorf("%q was read as %s, and that as %s (%v)", text, lsn, again, err)
		}
	})
}
