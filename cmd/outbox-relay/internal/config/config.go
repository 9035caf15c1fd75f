package config

import (
	"log/slog"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/schema"
)

// Config is the whole configuration. The tags are the one place where a
// variable's name, default and meaning are written down: parsing, help and the table
// of docs/configuration.md all come from them. The parts are embedded: the order of
// their fields is that of the table.
//
//	env        the variable; ",required" where there is no default
//	envDefault the default
//	oneof      the values allowed, separated by |
//	shown      the default as people read it, where envDefault does not say it
//	empty      "value" where the empty value is one, and does not mean the default
//	doc        the meaning, for help and docs/configuration.md alike
type Config struct {
	Servers
	Encryption
	LogReading
	Flow
	Outcomes
	Pace
	Topology Topology `env:"OUTBOX_TOPOLOGY" envDefault:"verify" oneof:"verify|create" doc:"create (for development): NATS: a topic that no stream captures is added to OUTBOX_NATS_STREAM by its first token, such as orders and orders.>; RabbitMQ: a durable topic exchange, and a quorum queue named outbox bound to all of it"`
	NATSOptions
	RabbitMQExchange string `env:"OUTBOX_RABBITMQ_EXCHANGE" envDefault:"outbox" empty:"value" doc:"the exchange; set and empty: the default exchange, which routes to the queue named like the topic"`
	BrokerTLS
	Serving
	Telemetry
	Logging
}

// Servers are what the relay moves rows between.
type Servers struct {
	DatabaseURL Secret       `env:"OUTBOX_DATABASE_URL,required" doc:"PostgreSQL, as a libpq URL or key=value string; several hosts work with target_session_attrs=read-write; not through a transaction pooler"`
	SinkURL     Secret       `env:"OUTBOX_SINK_URL,required" doc:"the broker: nats:// or tls:// for NATS JetStream, amqp:// or amqps:// for RabbitMQ (with a virtual host, if it is not /); commas separate hosts"`
	Table       schema.Table `env:"OUTBOX_TABLE" envDefault:"public.outbox" doc:"the outbox table, in SQL identifier syntax (folding, quotes)"`
	Publication Identifier   `env:"OUTBOX_PUBLICATION" envDefault:"outbox_relay" doc:"the publication that migrate makes or extends; several outbox tables may share it"`
	Environment Environment  `env:"OUTBOX_ENVIRONMENT" doc:"where this is, such as production: migrate notes it beside a new table, and a relay elsewhere publishes nothing of a copy"`
}

// Encryption is of the connections to both.
type Encryption struct {
	RequireTLS Switch `env:"OUTBOX_REQUIRE_TLS" envDefault:"false" oneof:"true|false" doc:"true: connections to PostgreSQL and the broker that leave the host and are not encrypted are refused, before credentials are sent; false: a warning"`
}

// LogReading says whether and how the write-ahead log is read.
type LogReading struct {
	Mode              Mode           `env:"OUTBOX_MODE" envDefault:"auto" oneof:"auto|replication|polling" doc:"auto: read new rows from the write-ahead log where that works, poll where not; replication: a leader that has to poll is not ready; polling: do not try"`
	ReconcileInterval time.Duration  `env:"OUTBOX_RECONCILE_INTERVAL" envDefault:"30s" doc:"while the log is read: how often the table is read too, to find what the log has missed"`
	VisibilityGate    VisibilityGate `env:"OUTBOX_VISIBILITY_GATE" envDefault:"auto" oneof:"auto|on|off" doc:"hold a row of the log until its transaction is visible; auto: while PostgreSQL has a synchronous standby"`
	Coalesce          time.Duration  `env:"OUTBOX_COALESCE" envDefault:"10ms" doc:"while transactions that insert rows come fast, from 4,000 a second on: the log is read once in so long, many rows at once, which takes less processor time; 0: each row as it comes"`
	MaxWAL            Bytes          `env:"OUTBOX_MAX_WAL" envDefault:"1GiB" doc:"the log that PostgreSQL may keep for the relay before it polls instead"`
}

// Flow bounds what is read, and what is on its way at once.
type Flow struct {
	PollInterval    time.Duration   `env:"OUTBOX_POLL_INTERVAL" envDefault:"200ms" doc:"how often the table is read for new rows"`
	Ordering        engine.Ordering `env:"OUTBOX_ORDERING" envDefault:"key" oneof:"key|none" doc:"key: rows of one key are delivered one after the other; none: as fast as they come"`
	MaxInFlight     int             `env:"OUTBOX_MAX_IN_FLIGHT" envDefault:"4096" doc:"rows published and not yet marked"`
	KeyWindow       int             `env:"OUTBOX_KEY_WINDOW" envDefault:"1" doc:"rows of one key on their way at once, where the broker may refuse one and take the next; above 1 a refusal can change the order of a key"`
	BufferBytes     Bytes           `env:"OUTBOX_BUFFER_BYTES" envDefault:"64MiB" doc:"rows held in memory, those in flight included"`
	MaxMessageBytes Bytes           `env:"OUTBOX_MAX_MESSAGE_BYTES" envDefault:"0" shown:"the broker's" doc:"a larger payload is dead at once, without being fetched (RabbitMQ does not tell its limit: 16MiB, or less once it refuses less)"`
}

// Outcomes say what becomes of a row.
type Outcomes struct {
	AckTimeout      time.Duration `env:"OUTBOX_ACK_TIMEOUT" envDefault:"0" shown:"the sink's" doc:"how long a message may wait for its acknowledgement; then it counts as refused, and may arrive twice (NATS: 5s, RabbitMQ: 15s)"`
	MaxAttempts     int           `env:"OUTBOX_MAX_ATTEMPTS" envDefault:"10" doc:"refusals after which a row is given up, if OUTBOX_DEAD_AFTER is over too"`
	DeadAfter       time.Duration `env:"OUTBOX_DEAD_AFTER" envDefault:"24h" doc:"time since a row's first refusal before it may be given up"`
	MaxDefer        time.Duration `env:"OUTBOX_MAX_DEFER" envDefault:"0" doc:"how long a row may wait for a broker that takes nothing before it is dead, for events that are worthless late; 0: for ever"`
	RetryMin        time.Duration `env:"OUTBOX_RETRY_MIN" envDefault:"1s" doc:"the first pause after a refusal; doubled each time, with jitter"`
	RetryMax        time.Duration `env:"OUTBOX_RETRY_MAX" envDefault:"5m" doc:"the longest pause"`
	DeadLetterTopic string        `env:"OUTBOX_DEAD_LETTER_TOPIC" doc:"each dead row is also published there, with its error and origin in headers, under a message id of its own; empty: it is not"`
	DeadPolicy      DeadPolicy    `env:"OUTBOX_DEAD_POLICY" envDefault:"skip" oneof:"skip|block" doc:"skip: the rows behind a dead row of their key are published; block: they wait until it is replayed or discarded"`
	AfterSend       AfterSend     `env:"OUTBOX_AFTER_SEND" envDefault:"mark" oneof:"mark|delete" doc:"mark: set sent_at; delete: remove the row"`
	TopicsAllow     relay.Topics  `env:"OUTBOX_TOPICS_ALLOW" doc:"patterns of the topics that may be published, such as orders.**,billing.*.paid: * is any text without a dot, ** any text; rows with other topics are refused; empty: all topics"`
}

// Pace says how long sent rows stay, how fast messages go, and how the relay stops.
type Pace struct {
	Retention time.Duration `env:"OUTBOX_RETENTION" envDefault:"24h" doc:"how long sent rows are kept; 0: for ever. Where a foreign key references the table, they are kept unless this is set"`
	// RetentionChosen: it is not the default.
	RetentionChosen bool
	RateLimit       float64       `env:"OUTBOX_RATE_LIMIT" envDefault:"0" doc:"messages a second at most, to protect what is downstream; 0: no limit"`
	RateBurst       int           `env:"OUTBOX_RATE_BURST" shown:"the tenth of the limit" doc:"messages that may go at once under OUTBOX_RATE_LIMIT"`
	ShutdownGrace   time.Duration `env:"OUTBOX_SHUTDOWN_GRACE" envDefault:"20s" doc:"how long SIGTERM waits for what is in flight"`
}

// NATSOptions are for NATS alone.
type NATSOptions struct {
	NATSStream      string     `env:"OUTBOX_NATS_STREAM" envDefault:"OUTBOX" doc:"the stream of OUTBOX_TOPOLOGY=create, made if missing"`
	NATSCredsFile   string     `env:"OUTBOX_NATS_CREDS_FILE" doc:"path of a credentials file (JWT and key)"`
	NATSNKeyFile    string     `env:"OUTBOX_NATS_NKEY_FILE" doc:"path of an nkey seed file"`
	NATSToken       Secret     `env:"OUTBOX_NATS_TOKEN" doc:"authentication token"`
	NATSInboxPrefix string     `env:"OUTBOX_NATS_INBOX_PREFIX" shown:"_INBOX" doc:"prefix of the reply subjects, where permissions ask for one"`
	NATSDomain      string     `env:"OUTBOX_NATS_DOMAIN" doc:"JetStream domain"`
	NATSFastIngest  FastIngest `env:"OUTBOX_NATS_FAST_INGEST" envDefault:"auto" oneof:"auto|off" doc:"auto: messages go in batches where server and stream allow it (allow_batched), so that many of one key are on their way at once; off: one by one"`
	NATSTLSFirst    TLSFirst   `env:"OUTBOX_NATS_TLS_FIRST" envDefault:"off" oneof:"on|off" doc:"on: begin with the TLS handshake, for servers with handshake_first; a connection without TLS is refused"`
}

// BrokerTLS names files.
type BrokerTLS struct {
	TLSCAFile   string `env:"OUTBOX_TLS_CA_FILE" shown:"the system's" doc:"PEM file of the authorities that signed the broker's certificate"`
	TLSCertFile string `env:"OUTBOX_TLS_CERT_FILE" doc:"PEM file of the client certificate for the broker"`
	TLSKeyFile  string `env:"OUTBOX_TLS_KEY_FILE" doc:"PEM file of its key; PostgreSQL's go in its URL"`
}

// Serving is what is served over HTTP, and to whom.
type Serving struct {
	HTTPAddr   string      `env:"OUTBOX_HTTP_ADDR" envDefault:"127.0.0.1:9464" doc:"where the page, /livez, /readyz, /status and /metrics are served; :9464 for the kubelet, a port of its own for each relay of a host"`
	HTTPHosts  admin.Hosts `env:"OUTBOX_HTTP_NAMES" doc:"further names under which the relay is asked, behind a proxy for example: relay.example.com,*.shop.example; requests for names that are not its own are refused"`
	AdminToken Secret      `env:"OUTBOX_ADMIN_TOKEN" doc:"what has to be given in the Authorization header to change anything over HTTP, to take a profile, and beyond the relay's host to see keys, errors and dead rows; at least 16 characters; empty: nothing can be changed"`
}

// Telemetry is metrics and traces.
type Telemetry struct {
	TraceContext TraceContext `env:"OUTBOX_TRACE_CONTEXT" envDefault:"row" oneof:"row|relay" doc:"row: a message carries the trace context of its row, and the relay's where it has none; relay: always the relay's, so that the publish span is the consumer's parent"`
	MetricsTopic Switch       `env:"OUTBOX_METRICS_TOPIC" envDefault:"false" oneof:"true|false" doc:"true: metrics of messages have the topic as a label, the first 100 topics by name"`
}

// Logging is how the relay logs.
type Logging struct {
	LogLevel  slog.Level     `env:"OUTBOX_LOG_LEVEL" envDefault:"info" oneof:"debug|info|warn|error" doc:"debug, info, warn or error"`
	LogFormat LogFormat      `env:"OUTBOX_LOG_FORMAT" envDefault:"auto" oneof:"auto|json|text" doc:"auto: text on a terminal, json elsewhere"`
	LogRedact relay.Redacted `env:"OUTBOX_LOG_REDACT" envDefault:"*authorization*,*cookie*,*token*,*secret*,*password*,*credential*,*signature*,*api-key*,*apikey*" doc:"names of headers whose values the log does not show, in which * is any text; other values are shown at level debug alone"`
}

// Load reads the configuration of a relay. The error is of type [Faults].
func Load(environ []string) (Config, error) {
	return load(environ, databaseURL, sinkURL)
}

// LoadMigration is [Load] for what works on the database only: it does not ask
// for a sink. What is set must be right nevertheless, since it is the same
// environment that the relay will read.
func LoadMigration(environ []string) (Config, error) {
	return load(environ, databaseURL)
}

// LoadNames is [Load] for what connects to nothing and needs only the names of
// table and publication.
func LoadNames(environ []string) (Config, error) {
	return load(environ)
}

// LoadSink is [Load] for what works on the broker only: it does not ask for a database.
func LoadSink(environ []string) (Config, error) {
	return load(environ, sinkURL)
}

// LoadTable is [Load] for what works on the table alone, and has to work where the
// broker's part is what is wrong: other variables are not looked at.
func LoadTable(environ []string) (Config, error) {
	return load(slices.DeleteFunc(slices.Clone(environ), isOfOthers), databaseURL)
}

const (
	databaseURL = "OUTBOX_DATABASE_URL"
	sinkURL     = "OUTBOX_SINK_URL"
)

// load is the pipeline: names, files, types, then what types cannot say.
func load(environ []string, required ...string) (Config, error) {
	values, files, faults := readEnvironment(environ)
	required = slices.DeleteFunc(required, func(name string) bool { return faults.blames(name + fileSuffix) })
	config, more := parse(values, required)
	remember(&config, files)
	config.RetentionChosen = values["OUTBOX_RETENTION"] != ""
	faults = append(faults, more...)
	faults = append(faults, check(config, values, faults)...)
	if slices.Contains(required, databaseURL) {
		faults = append(faults, checkLibpq(environ)...)
	}
	if len(faults) > 0 {
		return Config{}, faults.sorted()
	}
	return config, nil
}
