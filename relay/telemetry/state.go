package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Watch reads a relay's status and the census of its table at each collection. Both
// answer at once. Call it once.
func (t *Telemetry) Watch(status func() relay.Status, census func() relay.Census) error {
	s := &state{meter: t.meters.Meter(scope), common: metric.WithAttributes(t.publish.common...), acknowledged: t.publish.acknowledged.Load}
	s.addRelay(status)
	s.addRows(census)
	s.mode(status)
	return errors.Join(s.errs...)
}

// state makes the instruments that are read at each collection.
type state struct {
	meter        metric.Meter
	common       metric.MeasurementOption
	acknowledged func() int64
	errs         []error
}

// gauge adds a gauge whose value is read at each collection.
func (s *state) gauge(name, unit, description string, read func() float64) {
	_, err := s.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(read(), s.common)
			return nil
		}))
	s.errs = append(s.errs, err)
}

// counter adds a counter that somebody else keeps.
func (s *state) counter(name, description string, read func() uint64) {
	_, err := s.meter.Int64ObservableCounter(name, metric.WithDescription(description),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(read()), s.common) //nolint:gosec // no relay publishes 2^63 messages
			return nil
		}))
	s.errs = append(s.errs, err)
}

// addRelay adds what the relay says of itself.
func (s *state) addRelay(status func() relay.Status) {
	s.gauge("outbox.leader", "", "1 while this relay leads", func() float64 { return one(status().Mode.Leads()) })
	s.gauge("outbox.foreign", "", "1 while nothing is published, because the table belongs to another environment", func() float64 { return one(status().Foreign != "") })
	s.gauge("outbox.origin_doubtful", "", "1 while the table may be a copy, or nothing tells whether it is one", func() float64 { return one(status().Doubt != "") })
	s.gauge("outbox.paused", "", "1 while nothing new is published, because somebody has paused the table", func() float64 { return one(status().Pause.On()) })
	s.gauge("outbox.in_flight", "", "rows published whose outcome is not committed", func() float64 { return float64(status().InFlight) })
	s.gauge("outbox.waiting_rows", "", "rows read and not published", func() float64 { return float64(status().Waiting) })
	s.gauge("outbox.held_keys", "", "keys that wait for a row that was refused, or for the next pass", func() float64 { return float64(status().HeldKeys) })
	s.gauge("outbox.breaker_open", "", "1 while the broker takes no messages", func() float64 { return one(!status().SinkDownSince.IsZero()) })
	s.gauge("outbox.table_breaker_open", "", "1 while no row can be marked", func() float64 { return one(status().TableDown != "") })
	s.gauge("outbox.unmarkable_rows", "", "published rows whose outcome the server refuses", func() float64 { return float64(status().Unmarkable) })
	s.gauge("outbox.locked_rows", "", "published rows that another session has locked", func() float64 { return float64(status().Locked) })
	s.gauge("outbox.late_topics", "", "topics whose rows wait because few of their messages are tried at once", func() float64 { return float64(status().LateTopics) })
	s.gauge("outbox.stalled", "s", "how long due rows have made no progress", func() float64 { return age(status().StalledSince) })
	s.gauge("outbox.stalled_here", "", "1 while the relay's own side is the cause of a stall", func() float64 { return one(status().StalledHere) })
	s.gauge("outbox.retained_wal", "By", "log that the server keeps for the relay", func() float64 { return float64(status().RetainedWAL) })
	s.gauge("outbox.replication_lag", "By", "log that the relay has not read while it tails", func() float64 { return float64(status().UnreadWAL) })
	s.gauge("outbox.last_turn_timestamp", "s", "when the relay's loop last turned", func() float64 { return unix(status().Turned) })
	s.gauge("outbox.last_acknowledged_timestamp", "s", "when the broker last acknowledged a message; 0 if never", func() float64 {
		return float64(s.acknowledged()) / float64(time.Second)
	})
	s.counter("outbox.refused", "attempts counted against a row", func() uint64 { return status().Refused })
	s.counter("outbox.dead", "rows given up", func() uint64 { return status().Dead })
	s.counter("outbox.expired", "of the rows given up, those that had waited for the broker for too long", func() uint64 { return status().Expired })
	s.counter("outbox.duplicate_acks", "acknowledgements of a message id that the broker had already", func() uint64 { return status().DuplicateAcks })
	s.counter("outbox.purged", "sent rows deleted", func() uint64 { return status().Purged })
	s.gauge("outbox.purge_failing", "", "1 while sent rows are to be deleted and are not", func() float64 { return one(status().NotPurged != "") })
	s.counter("outbox.reconciled_rows", "rows that the log has missed, and a survey found", func() uint64 { return status().Reconciled })
}

// addRows adds what the census found in the table.
func (s *state) addRows(census func() relay.Census) {
	s.gauge("outbox.pending_rows", "", "rows that may be sent now", func() float64 { return float64(census().Due.Rows) })
	s.gauge("outbox.scheduled_rows", "", "rows whose time has not come", func() float64 { return float64(census().Scheduled.Rows) })
	s.gauge("outbox.retrying_rows", "", "pending rows that have been refused", func() float64 { return float64(census().Retrying.Rows) })
	s.gauge("outbox.dead_rows", "", "rows given up, which wait for a person", func() float64 { return float64(census().Dead.Rows) })
	s.gauge("outbox.oldest_pending_age", "s", "how long the oldest pending row has been due, by the database's clock", func() float64 {
		return census().OldestAgeAt(time.Now()).Seconds()
	})
	s.gauge("outbox.counted_timestamp", "s", "when the rows were last counted; 0 if never", func() float64 { return unix(census().At) })
}

// mode adds a series for each mode: 1 for the one that the relay is in.
func (s *state) mode(status func() relay.Status) {
	modes := relay.Modes()
	options := make([]metric.ObserveOption, len(modes))
	for i, m := range modes {
		options[i] = metric.WithAttributes(attribute.String("mode", m.String()))
	}
	_, err := s.meter.Int64ObservableGauge("outbox.mode", metric.WithDescription("1 for the mode that the relay is in"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			now := status().Mode
			for i, m := range modes {
				o.Observe(int64(one(m == now)), s.common, options[i])
			}
			return nil
		}))
	s.errs = append(s.errs, err)
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(0, time.Since(since).Seconds())
}

func unix(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}
