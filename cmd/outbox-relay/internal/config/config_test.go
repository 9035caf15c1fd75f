package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/schema"
)

// secret is the password of all corpora; it must never come out again.
const secret = "hunter2"

// TestBadConfigurationIsReportedExactly runs the corpus: each file is an
// environment and the whole error that it must give.
func TestBadConfigurationIsReportedExactly(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	dir := secretFiles(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			environ, want, found := strings.Cut(strings.ReplaceAll(string(content), "$DIR", dir), "--- want\n")
			if !found {
				t.Fatalf("%s has no --- want", file)
			}
			_, err = Load(strings.Split(environ, "\n"))
			if err == nil {
				t.Fatal("accepted")
			}
			got := err.Error()
			if got != strings.TrimSuffix(want, "\n") {
				t.Errorf("got:\n%s\n\nwant:\n%s", got, want)
			}
			if strings.Contains(got, secret) {
				t.Errorf("error tells the secret:\n%s", got)
			}
		})
	}
}

// secretFiles is a directory with what _FILE variables may point to.
func secretFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"token":    secret + "\n",
		"empty":    "\n",
		"database": "postgres://relay:" + secret + "@db/app\r\n",
		"sink":     "nats://broker:4222",

		"database.env": "# of the relay\nDATABASE_URL=postgres://relay:" + secret + "@db/app\n",
		"sink.env":     "export OUTBOX_SINK_URL='nats://broker'\n",
		"token.env":    "OUTBOX_NATS_TOKEN=" + secret + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var minimal = []string{
	"OUTBOX_DATABASE_URL=postgres://relay:" + secret + "@db/app",
	"OUTBOX_SINK_URL=nats://broker:4222",
}

func mustLoad(t *testing.T, environ ...string) Config {
	t.Helper()
	config, err := Load(append(environ, minimal...))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestDefaults(t *testing.T) {
	got := mustLoad(t)
	want := Config{Topology: VerifyTopology, RabbitMQExchange: "outbox"}
	want.Serving = Serving{HTTPAddr: "127.0.0.1:9464"}
	want.Servers = Servers{DatabaseURL: got.DatabaseURL, SinkURL: got.SinkURL, Table: schema.Table{Schema: "public", Name: "outbox"}, Publication: "outbox_relay"}
	want.LogReading = LogReading{Mode: AutoMode, ReconcileInterval: 30 * time.Second, VisibilityGate: GateAuto, Coalesce: 10 * time.Millisecond, MaxWAL: 1 << 30}
	want.Flow = Flow{PollInterval: 200 * time.Millisecond, Ordering: engine.OrderByKey, MaxInFlight: 4096, KeyWindow: 1, BufferBytes: 64 << 20}
	want.Outcomes = Outcomes{MaxAttempts: 10, DeadAfter: 24 * time.Hour, RetryMin: time.Second, RetryMax: 5 * time.Minute, DeadPolicy: DeadSkip, AfterSend: MarkSent}
	want.Pace = Pace{Retention: 24 * time.Hour, ShutdownGrace: 20 * time.Second}
	want.NATSOptions = NATSOptions{NATSStream: "OUTBOX", NATSTLSFirst: TLSFirstOff, NATSFastIngest: FastIngestAuto}
	want.Encryption = Encryption{RequireTLS: Off}
	want.Telemetry = Telemetry{TraceContext: TraceContextRow, MetricsTopic: Off}
	want.Logging = Logging{LogFormat: LogAuto, LogRedact: got.LogRedact}
	if want.LogRedact == "" {
		t.Error("the log shows all values of headers")
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.DatabaseURL.Reveal() != "postgres://relay:hunter2@db/app" || got.SinkURL.Reveal() != "nats://broker:4222" {
		t.Errorf("URLs are %q and %q", got.DatabaseURL.Reveal(), got.SinkURL.Reveal())
	}
}

func TestEveryDefaultPassesItsOwnChecks(t *testing.T) {
	var environ []string
	for _, v := range variables {
		if v.Default != "required" && !v.Empty {
			environ = append(environ, v.Name+"=")
		}
	}
	if got, want := mustLoad(t, environ...), mustLoad(t); withoutURLs(got) != withoutURLs(want) {
		t.Errorf("empty values give %+v, unset ones %+v", got, want)
	}
}

func withoutURLs(c Config) Config {
	c.DatabaseURL, c.SinkURL = Secret{}, Secret{}
	return c
}

func TestValuesAreRead(t *testing.T) {
	got := mustLoad(t, `OUTBOX_TABLE="My App".Events`, `OUTBOX_PUBLICATION="Relay ""1"""`, "OUTBOX_ORDERING=none",
		"OUTBOX_BUFFER_BYTES=128KiB", "OUTBOX_BUFFER_BYTES=2GB", "OUTBOX_MAX_MESSAGE_BYTES=1 MiB",
		"OUTBOX_AFTER_SEND=delete", "OUTBOX_TOPOLOGY=create", "OUTBOX_LOG_LEVEL=debug", "OUTBOX_NATS_TOKEN=a=b",
		"OUTBOX_MODE=replication", "OUTBOX_RECONCILE_INTERVAL=5s", "OUTBOX_VISIBILITY_GATE=off", "OUTBOX_MAX_WAL=10GB", "OUTBOX_HTTP_ADDR=[::]:80",
		"OUTBOX_TOPICS_ALLOW=orders.** , billing.*", "OUTBOX_HTTP_NAMES=Relay.example.com. , *.shop.example")
	want := mustLoad(t)
	want.DatabaseURL, want.SinkURL, want.NATSToken = got.DatabaseURL, got.SinkURL, got.NATSToken
	want.Table = schema.Table{Schema: "My App", Name: "events"}
	want.Publication = `Relay "1"`
	want.Ordering = engine.OrderNone
	want.BufferBytes, want.MaxMessageBytes = 2e9, 1<<20
	want.AfterSend, want.Topology = DeleteSent, CreateTopology
	want.LogLevel = -4
	want.TopicsAllow = "orders.**,billing.*"
	want.HTTPHosts = "relay.example.com,*.shop.example"
	want.Mode, want.VisibilityGate, want.ReconcileInterval = ReplicationMode, GateOff, 5*time.Second
	want.MaxWAL, want.HTTPAddr = 10e9, "[::]:80"
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if token := got.NATSToken.Reveal(); token != "a=b" {
		t.Errorf("token is %q", token)
	}
}

func TestEmptyExchangeIsAValue(t *testing.T) {
	if got := mustLoad(t, "OUTBOX_RABBITMQ_EXCHANGE=").RabbitMQExchange; got != "" {
		t.Errorf("the exchange is %q, want the default exchange, which has no name", got)
	}
}

func TestFilesHoldSecrets(t *testing.T) {
	dir := secretFiles(t)
	got, err := Load([]string{
		"OUTBOX_DATABASE_URL_FILE=" + dir + "/database",
		"OUTBOX_SINK_URL_FILE=" + dir + "/sink",
		"OUTBOX_NATS_TOKEN_FILE=" + dir + "/token",
		"OUTBOX_NATS_TOKEN=", // empty is not set
	})
	if err != nil {
		t.Fatal(err)
	}
	for want, secret := range map[string]Secret{
		"postgres://relay:hunter2@db/app": got.DatabaseURL,
		"nats://broker:4222":              got.SinkURL,
		"hunter2":                         got.NATSToken,
	} {
		if secret.Reveal() != want {
			t.Errorf("read %q, want %q", secret.Reveal(), want)
		}
	}
}

func TestSecretsAreReadAgainFromTheirFiles(t *testing.T) {
	dir := secretFiles(t)
	got, err := Load([]string{"OUTBOX_DATABASE_URL_FILE=" + dir + "/database", "OUTBOX_SINK_URL=nats://broker", "OUTBOX_NATS_TOKEN_FILE=" + dir + "/token"})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"database": "rotated\n", "token": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := got.DatabaseURL.Reread(); text != "rotated" || err != nil {
		t.Errorf("the URL is %q (%v)", text, err)
	}
	if text, err := got.NATSToken.Reread(); text != "" || err == nil || err.Error() != dir+"/token: the file is empty" {
		t.Errorf("the token is %q (%v)", text, err)
	}
	if text, err := got.SinkURL.Reread(); text != "nats://broker" || err != nil {
		t.Errorf("the sink's URL is %q (%v)", text, err)
	}
}

func TestCommandsAskOnlyForWhatTheyNeed(t *testing.T) {
	if _, err := LoadNames([]string{"OUTBOX_TABLE=events"}); err != nil {
		t.Errorf("names alone: %v", err)
	}
	if _, err := LoadMigration(minimal[:1]); err != nil {
		t.Errorf("migration without a sink: %v", err)
	}
	if _, err := LoadMigration(minimal[1:]); err == nil {
		t.Error("migration without a database was accepted")
	}
	if _, err := LoadNames([]string{"OUTBOX_SINK_URL=broker"}); err == nil {
		t.Error("a wrong sink URL was accepted because no sink is needed")
	}
}

func TestURLsThatWork(t *testing.T) {
	for _, url := range []string{
		"postgres://db/app", "postgresql://relay@db", "postgres://relay:p%40ss%2F@a:5432,b:5433/app?target_session_attrs=read-write",
		"postgres:///app?host=/var/run/postgresql&user=me@corp", "postgres://relay:pa?ss#word=x@db/app", "postgres://[::1]:5432/app",
		"host=db", "host = db  password = 'it\\'s @ my = /secret' ", "host=a,b port=1,2 dbname=app", "user=relay password=",
		"postgres://db/app?sslpassword=a%3Db&application_name=me@host",
		"postgres://db/app?gssencmode=prefer&requiressl=0&client_encoding=auto&ssl_min_protocol_version=TLSv1.2&keepalives=1&gssdelegation=0",
		"host=db password=a;b user=relay", "host=db password='host=a;port=b'",
	} {
		if err := checkDatabaseURL(url); err != nil {
			t.Errorf("database %s: %v", url, err)
		}
	}
	for _, url := range []string{
		"nats://broker", "tls://broker:4443", "nats://a:4222,b:4222, c", "nats://a,nats://b", "nats://[::1]:4222/",
		"amqp://broker", "amqps://relay:x@a:5671/app,relay:x@b:5671/app", "amqp://broker/", "amqp://broker/%2F", "amqp://broker/a%2Fb", "amqp://a,b,amqp://c",
		"nats://relay:p%2Fss@broker", "nats://token@broker", "nats://relay:x@a,relay:x@b",
	} {
		if err := checkSinkURL(url); err != nil {
			t.Errorf("sink %s: %v", url, err)
		}
	}
}
