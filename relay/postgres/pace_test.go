package postgres

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestPaceFollowsTheRows(t *testing.T) {
	var p pace
	req := relay.ChunkRequest{Rows: 5000, Bytes: 1 << 20}
	if n := p.rows(req); n != 5000 {
		t.Errorf("at first %d rows", n)
	}
	p.observe(&scanned{entries: make([]entry, 10), bytes: 10 << 10})
	if n := p.rows(req); n != 2048 {
		t.Errorf("for rows of 1 KiB %d rows", n)
	}
	p.observe(&scanned{entries: make([]entry, 1), bytes: 1 << 30})
	if n := p.rows(req); n != minRows {
		t.Errorf("for rows of 1 GiB %d rows", n)
	}
	p.observe(&scanned{entries: make([]entry, 10), bytes: 100})
	for range 10 {
		p.tooSlow()
	}
	if n := p.rows(req); n != 1 {
		t.Errorf("after timeouts %d rows", n)
	}
	for range 20 {
		p.observe(&scanned{entries: make([]entry, 10), bytes: 100})
	}
	if n := p.rows(req); n != 5000 {
		t.Errorf("after recovery %d rows", n)
	}
}
