package rabbitmq

import "testing"

// The fix that doctor prints contains topics, and anybody may write a topic.
func TestTopicStaysInsideItsLiteral(t *testing.T) {
	for text, want := range map[string]string{
		`orders`:                 `<<"orders">>`,
		`x">>), os:cmd("true").`: "<<120,34,62,62,41,44,32,111,115,58,99,109,100,40,34,116,114,117,101,34,41,46>>",
		`\"`:                     "<<92,34>>",
	} {
		if got := erlangBinary(text); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
	if got, want := evalCommand(`f('a').`), `rabbitmqctl eval 'f('\''a'\'').'`; got != want {
		t.Errorf("the command is %s, want %s", got, want)
	}
}
