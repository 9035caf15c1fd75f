package faultproxy

import "bytes"

// Cut drops all connections at once, with what the proxy holds of them. Both
// ends see a reset. New connections are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

func (p *Proxy) cutLocked() {
	for l := range p.links {
		l.drop()
	}
}

// Refuse makes the proxy reset new connections as soon as they are made. The
// present ones stay.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Stall stops passing on in both directions. Connections stay open, new ones are
// accepted, and the end of one side is hidden from the other: half open. What
// was sent meanwhile arrives when the stall ends.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall = on
	p.setGates()
}

// StallReplies holds back what the server sends, while the client's bytes go
// through. If [Proxy.Cut] follows, the replies are lost: the server has acted, and the
// client cannot know. Otherwise they arrive when the stall ends.
func (p *Proxy) StallReplies(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muffled = on
	p.setGates()
}

func (p *Proxy) setGates() {
	p.requests.set(p.stall)
	p.replies.set(p.stall || p.muffled)
}

// CutOn cuts a connection as soon as its client has sent pattern, however it is
// spread over packets. The server gets what came before in the same read and no
// byte that completes the pattern. Other connections stay; nil switches off.
func (p *Proxy) CutOn(pattern []byte) { p.watchFor(pattern, (*link).drop) }

// StallOn stops passing on what a connection's client sends, from pattern on, for
// as long as the connection lasts; what the server sends goes through. Other
// connections are not affected before they send it too; nil switches off, for
// those that have not sent it.
func (p *Proxy) StallOn(pattern []byte) { p.watchFor(pattern, (*link).swallow) }

// trigger is what befalls a connection whose client sends the pattern.
type trigger struct {
	pattern []byte
	do      func(*link)
}

func (p *Proxy) watchFor(pattern []byte, do func(*link)) {
	if len(pattern) == 0 {
		p.trigger.Store(nil)
		return
	}
	p.trigger.Store(&trigger{bytes.Clone(pattern), do})
}
