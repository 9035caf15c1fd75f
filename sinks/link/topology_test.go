package link

import "testing"

func TestTopologyIsReadAsItIsWritten(t *testing.T) {
	for _, want := range []Topology{Verify, Create} {
		if got, err := ParseTopology(want.String()); err != nil || got != want {
			t.Errorf("%q is read as %s (%v)", want, got, err)
		}
	}
	if _, err := ParseTopology("Create"); err == nil || err.Error() != `topology "Create": want verify or create` {
		t.Errorf("an unknown word is answered by %v", err)
	}
	if got := Topology(9).String(); got != "topology(9)" {
		t.Errorf("an unknown topology is %q", got)
	}
}
