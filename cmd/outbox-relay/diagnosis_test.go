package main

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func sample() diagnosis {
	return newDiagnosis("public.outbox", []relay.Check{
		{Name: "table", Found: "public.outbox", Fix: "not shown"},
		{Name: "guard", Severity: relay.Warning, Found: "missing", Fix: "outbox-relay migrate"},
		{Name: "indexes", Severity: relay.Warning, Found: "missing", Fix: "outbox-relay migrate"},
		{Name: "stream of \x1b[2Jx", Severity: relay.Fault, Found: "no\nstream", Fix: "one;\ntwo;"},
	})
}

func TestDiagnosisReadsLineByLineAndEachFixOnce(t *testing.T) {
	var b strings.Builder
	if err := sample().printText(&b, false); err != nil {
		t.Fatal(err)
	}
	const want = `ok       table            public.outbox
warning  guard            missing
warning  indexes          missing
fault    stream of �[2Jx  no stream

To fix:

guard:
  outbox-relay migrate

stream of �[2Jx:
  one;
  two;

public.outbox: 1 fault, 2 warnings
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestDiagnosisHasColourOnlyWhereAsked(t *testing.T) {
	for _, colour := range []bool{true, false} {
		var b strings.Builder
		if err := sample().printText(&b, colour); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "\x1b[31mfault\x1b[0m"); got != colour || strings.Contains(b.String(), "\x1b[2J") {
			t.Errorf("colour %v: %q", colour, b.String())
		}
	}
	for variable, is := range map[string]bool{"NO_COLOR=1": true, "NO_COLOR=": false, "TERM=dumb": true, "TERM=xterm": false} {
		if isNoColor(variable) != is {
			t.Errorf("%s", variable)
		}
	}
}

// A rollback starts beside a newer deployment's environment, and says what it does not know.
func TestVariablesOfAnotherVersionAreTold(t *testing.T) {
	if checks := examineVariables([]string{"OUTBOX_TABLE=events", "HOME=/root"}); len(checks) != 0 {
		t.Errorf("without any: %+v", checks)
	}
	checks := examineVariables([]string{"OUTBOX_TABLE=events", "OUTBOX_SHARD_COUNT=4"})
	if len(checks) != 1 || checks[0].Severity != relay.Warning || !strings.Contains(checks[0].Found, "OUTBOX_SHARD_COUNT") {
		t.Errorf("checks: %+v", checks)
	}
}
