package rabbitserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoBinaries: RabbitMQ is not on this machine.
var ErrNoBinaries = errors.New("no RabbitMQ server found")

// Install is the command that brings the server to a Debian machine.
const Install = "apt-get install --yes --no-install-recommends rabbitmq-server"

// debianDir holds the programs themselves. Those in PATH are wrappers there,
// which run as the user rabbitmq and on that user's files.
const debianDir = "/usr/lib/rabbitmq/bin"

// Binaries returns the directory that holds rabbitmq-server and rabbitmqctl: that
// of the system in the environment variable RABBITSERVER_ROOT, or else the variable
// RABBITSERVER_BIN, or else that of the Debian package, or else the one found through
// PATH. Without any, the error wraps [ErrNoBinaries] and says what to run.
func Binaries() (string, error) {
	p, err := findPlace()
	return filepath.Join(p.root, p.bin), err
}

// ownBinaries looks on this machine itself.
func ownBinaries() (string, error) {
	if dir := os.Getenv("RABBITSERVER_BIN"); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("%w: RABBITSERVER_BIN=%s: set it to the directory of rabbitmq-server and rabbitmqctl", ErrNoBinaries, dir)
		}
		return dir, nil
	}
	if complete(debianDir) {
		return debianDir, nil
	}
	if program, err := exec.LookPath("rabbitmq-server"); err == nil {
		if file, err := filepath.EvalSymlinks(program); err == nil && complete(filepath.Dir(file)) {
			return filepath.Dir(file), nil
		}
	}
	return "", fmt.Errorf("%w in RABBITSERVER_BIN, %s or PATH: run as root: %s", ErrNoBinaries, debianDir, Install)
}

func complete(dir string) bool {
	for _, name := range []string{"rabbitmq-server", "rabbitmqctl"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}
