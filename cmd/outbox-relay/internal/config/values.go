package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/schema"
)

// Mode says whether the relay may read the write-ahead log.
type Mode string

// The modes.
const (
	AutoMode        Mode = "auto"
	ReplicationMode Mode = "replication"
	PollingMode     Mode = "polling"
)

// VisibilityGate says whether a row that the log tells of waits until its
// transaction is visible.
type VisibilityGate string

// The settings of the gate.
const (
	GateAuto VisibilityGate = "auto"
	GateOn   VisibilityGate = "on"
	GateOff  VisibilityGate = "off"
)

// TLSFirst says whether a connection to NATS begins with the TLS handshake.
type TLSFirst string

// The ways to begin.
const (
	TLSFirstOn  TLSFirst = "on"
	TLSFirstOff TLSFirst = "off"
)

// FastIngest says whether messages go in batches to NATS, where that is possible.
type FastIngest string

// The ways to ingest.
const (
	FastIngestAuto FastIngest = "auto"
	FastIngestOff  FastIngest = "off"
)

// DeadPolicy says whether the rows behind a dead row of their key wait for it.
type DeadPolicy string

// The policies.
const (
	DeadSkip  DeadPolicy = "skip"
	DeadBlock DeadPolicy = "block"
)

// AfterSend says what becomes of a row once the broker has it.
type AfterSend string

// The ways to settle a sent row.
const (
	MarkSent   AfterSend = "mark"
	DeleteSent AfterSend = "delete"
)

// Topology says what the relay does about a topic that nothing captures.
type Topology string

// The topologies.
const (
	VerifyTopology Topology = "verify"
	CreateTopology Topology = "create"
)

// TraceContext says which trace context a message carries.
type TraceContext string

// The contexts.
const (
	TraceContextRow   TraceContext = "row"
	TraceContextRelay TraceContext = "relay"
)

// Switch is on or off.
type Switch string

// The positions.
const (
	On  Switch = "true"
	Off Switch = "false"
)

// LogFormat is how log records are written.
type LogFormat string

// The log formats.
const (
	LogAuto LogFormat = "auto"
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)

// Identifier is one SQL name as the catalogs store it, unquoted.
type Identifier string

// UnmarshalText reads SQL identifier syntax.
func (i *Identifier) UnmarshalText(text []byte) error {
	name, err := schema.ParseIdentifier(string(text))
	*i = Identifier(name)
	return err
}

// Environment is the name of a place where software is deployed.
type Environment string

var errEnvironment = errors.New("expected one word of letters, digits and . _ -, such as production, of at most 63 bytes")

// UnmarshalText takes a word: it stands in logs, metrics and errors.
func (e *Environment) UnmarshalText(text []byte) error {
	if len(text) > 63 || strings.ContainsFunc(string(text), isNoWord) {
		return errEnvironment
	}
	*e = Environment(text)
	return nil
}

func isNoWord(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
}

// Bytes is a size in bytes.
type Bytes int64

// units are what a size may end with; the binary ones first, ascending.
var units = []struct {
	suffix string
	size   int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"", 1},
}

var errSize = errors.New("expected a size in bytes, such as 65536, 64KiB, 64MiB, 1GiB or 10MB")

// UnmarshalText reads a whole number with or without a unit.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := string(text)
	for _, unit := range units {
		digits, found := strings.CutSuffix(s, unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(digits, " "), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/unit.size {
			return errSize
		}
		*b = Bytes(int64(n) * unit.size)
		return nil
	}
	return errSize
}

// String returns the size in the largest binary unit that divides it.
func (b Bytes) String() string {
	for _, unit := range slices.Backward(units[:3]) {
		if b != 0 && int64(b)%unit.size == 0 {
			return fmt.Sprintf("%d%s", int64(b)/unit.size, unit.suffix)
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// parseTable adapts [schema.ParseTable], whose error names the variable, as our
// faults do already.
func parseTable(s string) (any, error) {
	table, err := schema.ParseTable(s)
	if reason := errors.Unwrap(err); reason != nil {
		err = reason
	}
	return table, err
}

// parseOrdering relies on oneof for the rest.
func parseOrdering(s string) (any, error) {
	if s == "none" {
		return engine.OrderNone, nil
	}
	return engine.OrderByKey, nil
}
