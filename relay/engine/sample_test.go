package engine

import (
	"context"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// counted counts the statements that write marks.
type counted struct {
	answers
	statements int
}

func (c *counted) Mark(ctx context.Context, marks []relay.Mark) ([]relay.Ref, error) {
	c.statements++
	return c.answers.Mark(ctx, marks)
}

// A statement that meets a locked row lasts as long as a lock timeout. In a batch of
// locked rows, one of which is bad too, few rows are tried alone. (Rule 16.)
func TestSamplesOfLockedRowsAreBounded(t *testing.T) {
	control := &counted{answers: answers{locked: map[string]bool{"all": true}, refused: map[string]bool{"500": true}}}
	k := newMarker(control, relay.AttemptLimit{}, relay.Note{})
	batch := make([]outcome, 1000)
	for i := range batch {
		batch[i].mark.ID = int64(i + 1)
	}
	if err := k.write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	// The batch, the samples, and two halves each time, unless the bad row is a sample.
	if most := 1 + maxSamples + 1 + 2*10; control.statements > most {
		t.Errorf("%d statements, want %d at most", control.statements, most)
	}
	if bad, locked := len(k.aside.rows)+len(k.failed), len(k.locked.rows); bad+len(k.unwritten)+locked != len(batch) || bad != 1 {
		t.Errorf("%d rows are taken for bad, %d for locked, %d are unwritten", bad, locked, len(k.unwritten))
	}
}
