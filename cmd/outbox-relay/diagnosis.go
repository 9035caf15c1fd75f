package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/outbox-relay/outbox-relay/relay"
)

// diagnosis is what "doctor --json" prints. Its names are stable.
type diagnosis struct {
	Table    string        `json:"table"`
	Faults   int           `json:"faults"`
	Warnings int           `json:"warnings"`
	Checks   []checkReport `json:"checks"`
}

type checkReport struct {
	Name     string `json:"name"`
	Severity string `json:"severity"` // ok, warning or fault
	Found    string `json:"found"`
	// Fix is lines to be run or to be set, in their order.
	Fix []string `json:"fix,omitempty"`
}

func newDiagnosis(table string, checks []relay.Check) diagnosis {
	d := diagnosis{Table: table, Checks: make([]checkReport, 0, len(checks))}
	for _, c := range checks {
		switch c.Severity {
		case relay.Fault:
			d.Faults++
		case relay.Warning:
			d.Warnings++
		}
		report := checkReport{Name: relay.OneLine(c.Name), Severity: c.Severity.String(), Found: relay.OneLine(c.Found)}
		for line := range strings.Lines(c.Fix) {
			report.Fix = append(report.Fix, relay.OneLine(strings.TrimSuffix(line, "\n")))
		}
		d.Checks = append(d.Checks, report)
	}
	return d
}

func (d diagnosis) print(w io.Writer, asJSON, colour bool) error {
	if asJSON {
		return printJSON(w, d)
	}
	return d.printText(w, colour)
}

func (d diagnosis) printText(w io.Writer, colour bool) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range d.Checks {
		fmt.Fprintf(table, "%s\t%s\t%s\n", paint(c.Severity, colour), c.Name, c.Found)
	}
	table.Flush() // a strings.Builder takes everything
	d.printFixes(&b)
	fmt.Fprintf(&b, "\n%s: %s, %s\n", d.Table, number(d.Faults, "fault"), number(d.Warnings, "warning"))
	_, err := io.WriteString(w, b.String())
	return err
}

// printFixes prints each fix once: one may fix several checks.
func (d diagnosis) printFixes(b *strings.Builder) {
	printed := make(map[string]bool)
	for _, c := range d.Checks {
		fix := strings.Join(c.Fix, "\n  ")
		if c.Severity == relay.Fine.String() || fix == "" || printed[fix] {
			continue
		}
		if len(printed) == 0 {
			b.WriteString("\nTo fix:\n")
		}
		printed[fix] = true
		fmt.Fprintf(b, "\n%s:\n  %s\n", c.Name, fix)
	}
}

var colours = map[string]string{
	relay.Fine.String(): "\x1b[32m", relay.Warning.String(): "\x1b[33m", relay.Fault.String(): "\x1b[31m",
}

// paint colours a severity. All colour codes have one length, so the columns stay
// aligned.
func paint(severity string, colour bool) string {
	if !colour {
		return severity
	}
	return colours[severity] + severity + "\x1b[0m"
}

// isNoColor says whether a variable of the environment forbids colour, as
// no-color.org has it, or the terminal has none.
func isNoColor(variable string) bool {
	name, value, _ := strings.Cut(variable, "=")
	return name == "NO_COLOR" && value != "" || variable == "TERM=dumb"
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
