package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// ratios are made-up runs of one figure, the oldest first.
func ratios(name string, values ...float64) []run {
	var runs []run
	for _, v := range values {
		runs = append(runs, run{Figures: map[string]float64{name: v}})
	}
	return runs
}

func TestRatioThatHasFallenByAFifthIsNamed(t *testing.T) {
	for _, c := range []struct {
		why    string
		before []run
		this   run
		want   []string
	}{
		{"no run before", nil, ratios("ratio_1_key", 0.1)[0], nil},
		{"as before", ratios("ratio_1_key", 0.5), ratios("ratio_1_key", 0.5)[0], nil},
		{"a little less", ratios("ratio_1_key", 0.5), ratios("ratio_1_key", 0.41)[0], nil},
		{
			"a fifth less", ratios("ratio_1_key", 0.5), ratios("ratio_1_key", 0.39)[0],
			[]string{"ratio_1_key is 0.39, and was 0.50 (median of the last 1 runs)"},
		},
		{"one lucky run before", ratios("ratio", 0.5, 0.5, 0.9), ratios("ratio", 0.45)[0], nil},
		{
			"one unlucky run before", ratios("ratio", 0.5, 0.5, 0.1), ratios("ratio", 0.3)[0],
			[]string{"ratio is 0.30, and was 0.50 (median of the last 3 runs)"},
		},
		{"slower five runs ago", ratios("ratio", 0.9, 0.5, 0.5, 0.5, 0.5, 0.5), ratios("ratio", 0.45)[0], nil},
		{
			"a run between did not measure it", append(ratios("ratio", 0.5), ratios("start_ms", 9)...), ratios("ratio", 0.3)[0],
			[]string{"ratio is 0.30, and was 0.50 (median of the last 1 runs)"},
		},
		{"a latency that is less", ratios("ratio_500_rows_p50", 1.3), ratios("ratio_500_rows_p50", 0.9)[0], nil},
		{
			"a latency that is more", ratios("ratio_500_rows_p50", 1.2), ratios("ratio_500_rows_p50", 1.6)[0],
			[]string{"ratio_500_rows_p50 is 1.60, and was 1.20 (median of the last 1 runs)"},
		},
		{"a slower machine is no worse ratio", ratios("relay_rows_per_s", 50_000), ratios("relay_rows_per_s", 20_000)[0], nil},
		{"a machine with more cores before", append([]run{{Cores: 16, Figures: map[string]float64{"ratio": 0.9}}}, ratios("ratio", 0.5)...), ratios("ratio", 0.5)[0], nil},
		{"the worst round says little", ratios("ratio_min", 0.5), ratios("ratio_min", 0.2)[0], nil},
	} {
		var got []string
		for _, f := range falls(c.this, c.before) {
			got = append(got, f.String())
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

// TestLastRunIsNoWorseThanThoseBefore is what CI says about the runs that are kept. A fall
// that is accepted has its reason in the run's field "known".
func TestLastRunIsNoWorseThanThoseBefore(t *testing.T) {
	runs, err := load("../../docs/bench/runs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) == 0 {
		t.Fatal("there are no runs")
	}
	last := runs[len(runs)-1]
	for _, f := range falls(last, runs[:len(runs)-1]) {
		if last.Known == "" {
			t.Errorf("%s: find the cause, or write into the run's field \"known\" why it is accepted", f)
		}
	}
}

func TestFiguresAreReadFromTheOutput(t *testing.T) {
	const output = "goos: linux\nbench: round 1: broker alone 5 msgs/s, relay 3 rows/s\nbench: ratio=0.60\nbench: start_ms=12\nbench: odd=x\n" +
		"BenchmarkRelay-2 1 5 ns/op 0.6 ratio\n"
	var copied strings.Builder
	got, err := figuresOf(strings.NewReader(output), &copied)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]float64{"ratio": 0.6, "start_ms": 12}; !reflect.DeepEqual(got, want) {
		t.Errorf("figures %v, want %v", got, want)
	}
	if copied.String() != output {
		t.Errorf("the output was passed on as %q", copied.String())
	}
}

// A run is measured, kept, drawn and judged; one that is worse is kept too, and told.
func TestReportOfTwoRuns(t *testing.T) {
	history, images := filepath.Join(t.TempDir(), "bench", "runs.jsonl"), filepath.Join(t.TempDir(), "images")
	if err := report(history, images, []string{"echo", "bench: ratio_1_key=0.50"}); err != nil {
		t.Fatal(err)
	}
	if err := report(history, images, []string{"echo", "bench: ratio_1_key=0.30"}); !errors.Is(err, errFallen) {
		t.Errorf("the second run ended with %v, want %v", err, errFallen)
	}
	if err := report(history, images, []string{"sh", "-c", "echo bench: ratio_1_key=0.50; exit 3"}); err == nil || errors.Is(err, errFallen) {
		t.Errorf("the run that failed ended with %v", err)
	}
	runs, err := load(history)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 || runs[1].Figures["ratio_1_key"] != 0.3 {
		t.Errorf("the history is %+v, want both runs that did not fail", runs)
	}
	for _, look := range []string{"light", "dark"} {
		picture, err := os.ReadFile(filepath.Join(images, "bench-rates-"+look+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(picture), ">one key<") || !strings.Contains(string(picture), ">0.30<") {
			t.Errorf("the %s picture does not show the last run:\n%s", look, picture)
		}
		wellFormed(t, string(picture))
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}

func TestHistoryKeepsTheNewestRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs.jsonl")
	var runs []run
	for i := range runsKept + 10 {
		runs = append(runs, ratios("ratio", float64(i))...)
	}
	if err := store(file, runs); err != nil {
		t.Fatal(err)
	}
	kept, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != runsKept || kept[0].Figures["ratio"] != 10 {
		t.Errorf("%d runs are kept, from %v on", len(kept), kept[0].Figures)
	}
}
