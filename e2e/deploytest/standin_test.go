package deploytest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// path is the PATH in containers: this machine's, with PostgreSQL's own programs first,
// as in its image.
const path = "/usr/lib/postgresql/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// standIn is what stands for an image: this machine's root with a program of its own, or
// an image that was built here.
type standIn struct {
	rootEnv     string   // the variable with the root of one that was built; empty: this machine's
	user        string   // a flag of chroot
	entrypoint  string   // as the shell reads it
	command     []string // where the service has none
	env         []string
	healthcheck []string
	prepare     string // commands of the shell before chroot
}

// What the entrypoint of the image postgres does for its first start: a cluster with
// that password, that database, and the scripts of docker-entrypoint-initdb.d, over a
// socket only. Then it becomes the command.
const postgresEntrypoint = `sh -eu -c '
chown -R postgres /var/lib/postgresql/data && chmod 700 /var/lib/postgresql/data
install -d -o postgres /var/run/postgresql
export PGDATA=/var/lib/postgresql/data
exec setpriv --reuid=postgres --regid=postgres --clear-groups sh -eu -c "
  echo \"\$POSTGRES_PASSWORD\" >/tmp/password
  initdb --username=postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --no-sync --encoding=UTF8 --locale=C.UTF-8
  echo \"listen_addresses = '\''*'\''\" >>\$PGDATA/postgresql.conf
  pg_ctl --wait --options=\"-c listen_addresses= -c unix_socket_directories=/var/run/postgresql\" start
  createdb --host=/var/run/postgresql --username=postgres \"\$POSTGRES_DB\"
  for script in /docker-entrypoint-initdb.d/*.sql
  do psql --host=/var/run/postgresql --username=postgres --dbname=\"\$POSTGRES_DB\" --set=ON_ERROR_STOP=1 --file=\$script; done
  pg_ctl --wait --mode=fast stop
  exec \"\$@\" -c unix_socket_directories=/var/run/postgresql
" -- "$@"' --`

// What the entrypoint of the image rabbitmq does: its user from the environment.
const rabbitmqEntrypoint = `sh -eu -c '
mkdir -p /etc/rabbitmq /run/rabbitmq /var/log/rabbitmq
printf "default_user = %s\ndefault_pass = %s\ndisk_free_limit.absolute = 1MB\n" "$RABBITMQ_DEFAULT_USER" "$RABBITMQ_DEFAULT_PASS" >/etc/rabbitmq/rabbitmq.conf
unset RABBITMQ_DEFAULT_USER RABBITMQ_DEFAULT_PASS
rm -f /etc/rabbitmq/rabbitmq-env.conf /etc/rabbitmq/enabled_plugins
exec "$@"' --`

var standIns = map[string]standIn{
	"postgres": {
		entrypoint: postgresEntrypoint,
		prepare:    `ln -s /usr/lib/postgresql/*/bin "$ROOT/usr/lib/postgresql/bin"`,
	},
	"nats": {
		entrypoint: "nats-server",
		prepare:    `install -D "$NATS_SERVER" "$ROOT/usr/local/bin/nats-server"`,
		env:        []string{"NATS_SERVER=" + os.Getenv("NATS_SERVER")},
	},
	"rabbitmq": {
		entrypoint: rabbitmqEntrypoint,
		command:    []string{"/usr/lib/rabbitmq/bin/rabbitmq-server"},
		env:        []string{"HOME=/var/lib/rabbitmq", "LANG=C.UTF-8", "RABBITMQ_NODENAME=rabbit@localhost", "RABBITMQ_LOGS=-"},
	},
	"prom/prometheus": {
		entrypoint: "prometheus",
		command:    []string{"--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"},
		prepare:    `mkdir -p "$ROOT/prometheus"`,
	},
	"outbox-relay": {
		rootEnv: "RELAY_ROOT", user: "--userspec=65532:65532", entrypoint: "/outbox-relay",
		healthcheck: []string{"CMD", "/outbox-relay", "health"},
	},
	"outbox-relay-app": {rootEnv: "APP_ROOT", user: "--userspec=65532:65532", entrypoint: "/app"},
}

// root is where the container's root is mounted.
func (s standIn) root(t *testing.T, service types.ServiceConfig) string {
	t.Helper()
	dir := filepath.Join(scratch, "root-"+service.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// overRoot mounts the lower directory $1 with what is written kept in memory. The
// upper directory may not lie within the lower one, hence the tmpfs.
const overRoot = `set -eu
mount -t tmpfs -o mode=755 layers "$ROOT"
mkdir "$ROOT/upper" "$ROOT/work" "$ROOT/root"
mount -t overlay -o "lowerdir=%s,upperdir=$ROOT/upper,workdir=$ROOT/work" overlay "$ROOT/root"
ROOT=$ROOT/root
mkdir -p "$ROOT/proc" "$ROOT/dev" "$ROOT/etc"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
touch "$ROOT/etc/hosts"
mount --bind /etc/hosts "$ROOT/etc/hosts"
`

// enter is the script that makes the container's root: the image, the volumes, and
// what an engine puts into each.
func (s standIn) enter(service types.ServiceConfig) string {
	lower := "/"
	if s.rootEnv != "" {
		lower = os.Getenv(s.rootEnv)
	}
	script := fmt.Sprintf(overRoot, lower)
	for _, v := range service.Volumes {
		target := fmt.Sprintf("\"$ROOT\"'%s'", v.Target)
		if v.Type == types.VolumeTypeBind {
			script += fmt.Sprintf("install -D /dev/null %s\nmount --bind '%s' %s\n", target, v.Source, target)
			continue
		}
		script += fmt.Sprintf("mkdir -p %s\nmount -t tmpfs -o mode=755 volume %s\n", target, target)
	}
	script += s.prepare + "\n"
	if service.ReadOnly {
		script += "mount -o remount,ro,bind \"$ROOT\" 2>/dev/null || mount -o remount,ro \"$ROOT\"\n"
	}
	return strings.TrimSuffix(script, "\n")
}
