package link

import "fmt"

// Topology says what a sink does about a topic, or an exchange, that the broker does
// not have. Each sink documents what exactly it verifies or creates.
type Topology uint8

// The topologies. The zero value is Verify.
const (
	Verify Topology = iota // nothing is created: that is somebody else's task
	Create                 // what is missing is created; for development
)

var topologyNames = [...]string{"verify", "create"}

// String returns the word that the configuration uses.
func (t Topology) String() string {
	if int(t) >= len(topologyNames) {
		return fmt.Sprintf("topology(%d)", uint8(t))
	}
	return topologyNames[t]
}

// ParseTopology reads what [Topology.String] writes.
func ParseTopology(s string) (Topology, error) {
	for t, name := range topologyNames {
		if s == name {
			return Topology(t), nil
		}
	}
	return 0, fmt.Errorf("topology %q: want %s or %s", s, Verify, Create)
}
