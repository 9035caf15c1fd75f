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

// Binaries returns the directory that holds rabbitmq-server and rabbitmqctl: the
// environment variable RABBITSERVER_BIN, or else that of the Debian package, or
// else the one found through PATH. Without any, the error wraps [ErrNoBinaries]
// and says what to run.
func Binaries() (string, error) {
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

// portMapper finds epmd: in PATH, or within Erlang's own directory.
func portMapper() (string, error) {
	if path, err := exec.LookPath("epmd"); err == nil {
		return path, nil
	}
	found, err := filepath.Glob("/usr/lib/erlang/erts-*/bin/epmd")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%w: Erlang's epmd is missing: run as root: %s", ErrNoBinaries, Install)
	}
	return found[len(found)-1], nil
}
