// Benchreport runs a benchmark, passes its output on, and does three things with the lines
// of the form "bench: name=value" in it. It appends the run to a history of runs, draws the
// plots of the README and of docs/performance.md, and says which ratio has fallen by a fifth
// or more since the last runs. Then it ends with status 1.
//
//	go run ./e2e/benchreport go test -run '^$' -bench . -benchtime 1x ./e2e
//
// Without a command it reads the output of a benchmark from its input.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"
)

func main() {
	history := flag.String("history", "docs/bench/runs.jsonl", "the file of the runs, to which this one is appended")
	images := flag.String("images", "docs/images", "the directory of the plots")
	flag.Parse()
	if err := report(*history, *images, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

var errFallen = errors.New("a ratio has fallen")

func report(history, images string, command []string) error {
	figures, failed := measure(command)
	if len(figures) == 0 {
		return errors.Join(failed, errors.New("the output has no line of the form bench: name=value"))
	}
	runs, err := load(history)
	if err != nil {
		return err
	}
	this := run{At: time.Now().UTC().Truncate(time.Second), Commit: commit(), Cores: runtime.NumCPU(), Figures: figures}
	if failed == nil { // a run that was stopped is judged, but is no measure for later ones
		if err := store(history, append(runs, this)); err != nil {
			return err
		}
		if err := drawAll(images, alike(append(runs, this), this.Cores)); err != nil {
			return err
		}
	}
	fallen := falls(this, runs)
	for _, f := range fallen {
		fmt.Println("bench: fallen:", f)
	}
	if len(fallen) > 0 {
		return errors.Join(failed, errFallen)
	}
	return failed
}

// measure runs the command, or reads the input if there is none, and returns the figures.
func measure(command []string) (map[string]float64, error) {
	if len(command) == 0 {
		return figuresOf(os.Stdin, io.Discard)
	}
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec // whoever runs the benchmark names it
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	figures, err := figuresOf(output, os.Stdout)
	return figures, errors.Join(err, cmd.Wait())
}

// figuresOf copies the output of a benchmark and returns its figures.
func figuresOf(from io.Reader, to io.Writer) (map[string]float64, error) {
	figures := make(map[string]float64)
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(to, lines.Text())
		if name, value, ok := figure(lines.Text()); ok {
			figures[name] = value
		}
	}
	return figures, lines.Err()
}

// commit is that of the checkout, as far as Go knows it.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(12, len(s.Value))]
			}
		}
	}
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return ""
	}
	return string(out[:min(12, len(out))])
}

func drawAll(images string, runs []run) error {
	if err := os.MkdirAll(images, 0o755); err != nil {
		return err
	}
	for name, p := range plots(latest(runs)) {
		for _, look := range []look{light, dark} {
			file := filepath.Join(images, "bench-"+name+"-"+look.name+".svg")
			if err := os.WriteFile(file, []byte(p.svg(look)), 0o644); err != nil { //nolint:gosec // a picture of a page
				return err
			}
		}
	}
	return nil
}
