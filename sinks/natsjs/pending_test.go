package natsjs

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// model does what pending does. It is so simple that it is obviously right.
type model struct {
	flight map[ticket]*entry
	again  []entry // taken out, to be published again
	acked  uint64
	ended  bool
}

// find returns the message of a ticket, or of the publish after that one.
func (m *model) find(t ticket) (*entry, bool) {
	if e, ok := m.flight[t]; ok {
		return e, true
	}
	for _, e := range m.flight {
		if t.number != 0 && e.earlier == t.number {
			return e, true
		}
	}
	return nil, false
}

func ticketOf(e *entry) ticket {
	if e == nil {
		return ticket{}
	}
	return ticket{e.slot, e.number}
}

func (m *model) numbers(condition func(*entry) bool) []uint64 {
	var all []uint64
	for t, e := range m.flight {
		if condition(e) {
			all = append(all, e.number)
			delete(m.flight, t)
		}
	}
	slices.Sort(all)
	return all
}

// repeat publishes the message again before its time is over. The time does not begin
// anew.
func (m *model) repeat(e *entry, now, until time.Time, otherwise phase) {
	if e.until.IsZero() {
		e.until = until
	}
	if e.phase = otherwise; now.Before(e.until) {
		e.phase = repeated
	}
}

func numbers(entries []entry) []uint64 {
	var all []uint64
	for _, e := range entries {
		all = append(all, e.number)
	}
	return all
}

// FuzzPending runs a schedule of calls, one byte each, on pending and on the
// model, and compares all they answer.
func FuzzPending(f *testing.F) {
	seedSchedules(f)
	epoch := time.Now()
	f.Fuzz(func(t *testing.T, schedule []byte) {
		p := newPending(2)
		m := &model{flight: make(map[ticket]*entry)}
		var used []ticket // also those that are over
		pick := func(b byte) ticket {
			if len(used) == 0 {
				return ticket{uint32(b), uint64(b)}
			}
			return used[int(b)%len(used)]
		}
		for i, b := range schedule {
			topic := string('a' + rune(b>>3%3))
			var got, want any
			switch b % 8 {
			case 0, 1, 2:
				it := item{message: &relay.Message{Topic: topic}}
				deadline := epoch.Add(time.Duration(i))
				if len(m.again) > 0 && b>>6 == 0 {
					it, m.again = m.again[0].item, m.again[1:]
				}
				tk, err := p.add(it, int64(b), deadline)
				if err == nil {
					if it.first == 0 {
						it.first = tk.number
					}
					m.flight[tk] = &entry{item: it, slot: tk.slot, number: tk.number, deadline: deadline}
					used = append(used, tk)
				}
				got, want = err == nil, !m.ended
			case 3:
				tk := pick(b >> 3)
				_, ok := p.take(tk)
				e, there := m.find(tk)
				delete(m.flight, ticketOf(e))
				got, want = ok, there
			case 4:
				tk := pick(b >> 3)
				_, ok := p.acknowledge(tk)
				e, there := m.find(tk)
				delete(m.flight, ticketOf(e))
				if slices.Contains(used, tk) {
					m.acked = max(m.acked, tk.number)
				}
				got, want = ok, there
			case 5:
				tk := pick(b >> 3)
				if b>>7 == 1 {
					now := epoch.Add(time.Duration(i))
					until := now.Add(time.Duration(b >> 6 & 1))
					p.markProposed(tk, now, until)
					if e, there := m.find(tk); there {
						m.repeat(e, now, until, e.phase)
					}
					continue
				}
				gotTopic, ok := p.markUnclaimed(tk)
				wantTopic := ""
				e, there := m.find(tk)
				if there {
					e.phase, wantTopic = unclaimed, e.message.Topic
				}
				got, want = fmt.Sprint(gotTopic, ok), fmt.Sprint(wantTopic, there)
			case 6:
				now := epoch.Add(time.Duration(i))
				until := now.Add(time.Duration(b >> 6))
				p.markUndecided(topic, errors.New("doubt"), now, until, epoch)
				for _, e := range m.flight {
					if e.phase == unclaimed && e.message.Topic == topic {
						m.repeat(e, now, until, undecided)
					}
				}
				settled := func(e *entry, acked uint64) bool {
					return e.phase == repeated || e.phase == undecided && e.first < acked
				}
				taken := p.takeIf(settled)
				for _, e := range taken {
					if e.phase == repeated {
						e.earlier = e.number
						m.again = append(m.again, e)
					}
				}
				got = numbers(taken)
				want = m.numbers(func(e *entry) bool { return settled(e, m.acked) })
			case 7:
				if b>>3 == 31 {
					m.ended = true
					got, want = numbers(p.end()), m.numbers(func(*entry) bool { return true })
					break
				}
				late := func(e *entry) bool { return e.deadline.Before(epoch.Add(time.Duration(i - int(b>>3)))) }
				got = p.any(late)
				want = slices.ContainsFunc(slices.Collect(maps.Values(m.flight)), late)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("step %d, call %d: got %v, want %v", i, b%8, got, want)
			}
			if !p.valid() || p.acked != m.acked {
				t.Fatalf("step %d, call %d: invalid, acked %d, want %d", i, b%8, p.acked, m.acked)
			}
		}
		if got, want := numbers(p.end()), m.numbers(func(*entry) bool { return true }); !slices.Equal(got, want) {
			t.Fatalf("left are %v, want %v", got, want)
		}
		if !p.valid() {
			t.Fatal("invalid at the end")
		}
	})
}

func seedSchedules(f *testing.F) {
	f.Add([]byte("aaaaaaabbbbccccddddeeeeffffgggghhhh"))
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	random := make([]byte, 2000)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		for i := range random {
			random[i] = byte(r.UintN(256))
		}
		f.Add(slices.Clone(random))
	}
}

func FuzzTicket(f *testing.F) {
	f.Add(uint32(0), uint64(1), "0-1")
	f.Add(^uint32(0), ^uint64(0), "1z141z3-3w5e11264sgsf")
	f.Add(uint32(1), uint64(2), "-")
	f.Fuzz(func(t *testing.T, slot uint32, number uint64, text string) {
		want := ticket{slot, number}
		b := want.append(nil)
		if got, ok := parseTicket(string(b)); !ok || got != want {
			t.Errorf("%s is read as %v %v, want %v", b, got, ok, want)
		}
		if len(b) > ticketBytes {
			t.Errorf("%s has %d bytes, more than %d", b, len(b), ticketBytes)
		}
		parseTicket(text) // must not panic
	})
}
