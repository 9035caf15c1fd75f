package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/relay"
)

// rowLimits are those of "status --max-age --max-dead".
type rowLimits struct {
	age  time.Duration
	dead int64
	// Which of them are given.
	onAge, onDead func() bool
}

// limitFlags are the flags of rowLimits.
var limitFlags = []string{"max-age", "max-dead"}

func addRowLimits(cmd *cobra.Command) *rowLimits {
	l := &rowLimits{}
	cmd.Flags().DurationVar(&l.age, "max-age", 0, "check that no row has been due for longer")
	cmd.Flags().Int64Var(&l.dead, "max-dead", 0, "check that no more rows are dead")
	for _, name := range limitFlags {
		completeWith(cmd, name)
	}
	l.onAge = func() bool { return cmd.Flags().Changed("max-age") }
	l.onDead = func() bool { return cmd.Flags().Changed("max-dead") }
	return l
}

func (l *rowLimits) given() bool { return l.onAge() || l.onDead() }

// check refuses limits that nothing can be within.
func (l *rowLimits) check() error {
	switch {
	case l.age < 0:
		return fmt.Errorf("--max-age %v: expected 0 or more", l.age)
	case l.dead < 0:
		return fmt.Errorf("--max-dead %d: expected 0 or more", l.dead)
	}
	return nil
}

// health is what a monitoring system is told. Its numbers are those of Nagios, which many
// others read.
type health int

const (
	healthy  health = 0
	critical health = 2
	unknown  health = 3
)

var healthNames = map[health]string{healthy: "ok", critical: "critical", unknown: "unknown"}

// String returns the name in lower case.
func (h health) String() string { return healthNames[h] }

// limitsView is what "status --max-age --json" prints. Its names are stable.
type limitsView struct {
	State    string       `json:"state"` // ok, critical or unknown
	Why      string       `json:"why"`
	Database databaseView `json:"database"`
}

// judge prints whether the table is within the limits, and ends with a status for it.
func (l *rowLimits) judge(cmd *cobra.Command, d databaseView, asJSON bool) error {
	state, why := l.compare(d)
	why = relay.OneLine(why)
	var err error
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), limitsView{State: state.String(), Why: why, Database: d})
	} else {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s: %s\n", strings.ToUpper(state.String()), d.Table, why)
	}
	if err != nil || state == healthy {
		return err
	}
	return exit(state)
}

// compare says which limit is passed. Where counting ended within a limit, nobody knows.
func (l *rowLimits) compare(d databaseView) (health, string) {
	if d.Rows == nil {
		return unknown, "the rows cannot be counted: " + d.Error
	}
	state := healthy
	var parts []string
	if l.onAge() {
		age := time.Duration(d.Rows.OldestPendingAge * float64(time.Second))
		if age > l.age {
			state = critical
		}
		parts = append(parts, fmt.Sprintf("the oldest pending row has been due for %s (--max-age %s)", seconds(age.Seconds()), l.age))
	}
	if l.onDead() {
		switch dead := d.Rows.Dead; {
		case dead.Rows > l.dead:
			state = critical
		case dead.More && state == healthy:
			state = unknown
		}
		parts = append(parts, fmt.Sprintf("%s dead (--max-dead %d)", relay.Count(d.Rows.Dead), l.dead))
	}
	return state, strings.Join(parts, ", ")
}
