package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// run is one run of the benchmarks, a line of the history.
type run struct {
	At     time.Time `json:"at"`
	Commit string    `json:"commit,omitempty"`
	Cores  int       `json:"cores"`
	// Known says why a ratio that has fallen in this run is accepted. A person writes it.
	Known   string             `json:"known,omitempty"`
	Figures map[string]float64 `json:"figures"`
}

// runsKept is how many runs the history has.
const runsKept = 50

// figure reads a line of a benchmark's output.
func figure(line string) (name string, value float64, ok bool) {
	text, ok := strings.CutPrefix(line, "bench: ")
	if !ok {
		return "", 0, false
	}
	name, number, ok := strings.Cut(text, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return "", 0, false
	}
	value, err := strconv.ParseFloat(number, 64)
	return name, value, err == nil
}

// load reads the history. No file is an empty one.
func load(file string) ([]run, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var runs []run
	for n, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var r run
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", file, n+1, err)
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// store writes the newest runs.
func store(file string, runs []run) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, r := range runs[max(0, len(runs)-runsKept):] {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text.Bytes(), 0o644) //nolint:gosec // a page's data
}

// latest has the newest value of each figure: a run may have measured only some of them.
func latest(runs []run) map[string]float64 {
	figures := make(map[string]float64)
	for _, r := range runs {
		maps.Copy(figures, r.Figures)
	}
	return figures
}
