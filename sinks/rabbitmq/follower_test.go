package rabbitmq

import "testing"

// A channel is replaced when half of its window was given up, or when so many confirms
// overtook a missing one that the library's memory grows.
func TestWornChannelIsReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		late, overtaken int
		worn            bool
	}{
		"fresh":                        {0, 0, false},
		"one is late":                  {1, 0, false},
		"half of the window is late":   {5, 0, true},
		"some have overtaken a late":   {1, mostOvertaken - 1, false},
		"many have overtaken one late": {1, mostOvertaken, true},
	} {
		f := &follower{outlet: &outlet{writer: &writer{}}, channel: &channel{window: 9}, late: c.late, overtaken: c.overtaken}
		if f.worn() != c.worn {
			t.Errorf("%s: worn is %v", name, !c.worn)
		}
	}
	// Late topics have few messages with the broker, which count until it has confirmed them.
	f := &follower{outlet: &outlet{writer: &writer{kind: lateWriter}}, channel: &channel{window: 9}, late: 9}
	if f.worn() {
		t.Error("a channel of late topics is replaced because its messages are late")
	}
}
