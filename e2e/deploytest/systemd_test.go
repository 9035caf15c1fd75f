package deploytest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	systemd = root + "/deploy/systemd"
	// maxExposure is the most that systemd-analyze security may give the unit, of 10.
	// What is left is the network, without which there is no relay.
	maxExposure = 1.5
)

func needSystemd(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
}

// analyze runs systemd-analyze and returns what it says.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"--no-pager"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestUnitIsVerified asks systemd, in a root in which the files are where the packages
// put them.
func TestUnitIsVerified(t *testing.T) {
	needSystemd(t)
	verify := func(unit string) string {
		dir := t.TempDir()
		path := filepath.Join(dir, "outbox-relay.service")
		// Programs and files are looked for on this machine.
		unit = strings.ReplaceAll(unit, "/usr/bin/outbox-relay", "/bin/true")
		if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := analyze(t, "verify", "--recursive-errors=no", path)
		if err != nil {
			out += err.Error()
		}
		return out
	}
	unit := readFile(t, systemd+"/outbox-relay.service")
	if said := verify(unit); said != "" {
		t.Errorf("systemd says: %s", said)
	}
	if said := verify(strings.Replace(unit, "WatchdogSec=30", "WatchdogSecs=30", 1)); !strings.Contains(said, "WatchdogSecs") {
		t.Errorf("of a name that does not exist systemd says %q", said)
	}
}

func TestUnitIsHardened(t *testing.T) {
	needSystemd(t)
	out, err := analyze(t, "security", "--offline=true", systemd+"/outbox-relay.service")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze gives no exposure:\n%s", out)
	}
	exposure, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("exposure %.1f of 10", exposure)
	if exposure > maxExposure {
		t.Errorf("the unit's exposure is %.1f, want at most %.1f:\n%s", exposure, maxExposure, out)
	}
}

// TestUnitWaitsForWhatIsInFlight compares the unit with its environment file.
func TestUnitWaitsForWhatIsInFlight(t *testing.T) {
	environment := readSettings(t, systemd+"/outbox-relay.env")
	grace, err := time.ParseDuration(environment["OUTBOX_SHUTDOWN_GRACE"])
	if err != nil {
		t.Fatal(err)
	}
	unit := readSettings(t, systemd+"/outbox-relay.service")
	seconds, err := strconv.Atoi(unit["TimeoutStopSec"])
	if err != nil {
		t.Fatal(err)
	}
	if has := time.Duration(seconds) * time.Second; has <= grace+closing(t) {
		t.Errorf("the unit has %v to end, want more than %v", has, grace+closing(t))
	}
	for name, value := range environment {
		if strings.HasSuffix(name, "_URL") {
			t.Errorf("the environment file has %s=%s: secrets are files of their own", name, value)
		}
	}
	if unit["User"] == "" || unit["User"] == "root" {
		t.Errorf("the unit runs as %q", unit["User"])
	}
	if !strings.Contains(readFile(t, systemd+"/outbox-relay.sysusers"), "\nu "+unit["User"]+" ") {
		t.Errorf("nothing makes the user %s", unit["User"])
	}
}

// readSettings reads lines of NAME=VALUE; of a name that comes again, the first.
func readSettings(t *testing.T, file string) map[string]string {
	t.Helper()
	settings := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(readFile(t, file)))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if _, twice := settings[name]; ok && !twice && !strings.HasPrefix(name, "#") {
			settings[name] = value
		}
	}
	return settings
}
