package postgres_test

import (
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// A batch whose ids are close together is marked as a range of ids. Rows within it that
// are not in the batch, and rows that have got the id of one that is, stay as they are.
func TestMarksOfARangeAreExact(t *testing.T) {
	t.Parallel()
	for _, after := range []postgres.AfterSend{postgres.Mark, postgres.Delete} {
		f := setup(t, shape{after: after})
		f.insert(20)
		c, s := f.lead()
		all := refs(f.readPass(s))
		left := []int64{3, 7, 8, 14, 20}
		batch := slices.DeleteFunc(slices.Clone(all), func(r relay.Ref) bool { return slices.Contains(left, r.ID) })
		f.exec(`UPDATE {t} SET message_id = gen_random_uuid() WHERE id = 11`)
		f.exec(`UPDATE {t} SET message_id = $1::text::uuid WHERE id = 14`, all[9].MessageID.String()) // that of row 10
		if done := mark(t, c, batch...); !slices.Equal(sorted(done), batch) {                         // row 11 as it was is gone
			t.Errorf("%v: settled %v", after, done)
		}
		if got := ids(f.readPass(s)); !slices.Equal(got, []int64{3, 7, 8, 11, 14, 20}) {
			t.Errorf("%v: the next pass brings %v", after, got)
		}
	}
}

func TestMarksFarApartAreExact(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(2)
	f.exec(`INSERT INTO {t} (id, topic, payload) VALUES (9223372036854775807, 't', '1'), (-9223372036854775808, 't', '1')`)
	c, s := f.lead()
	all := refs(f.readPass(s))
	f.exec(`UPDATE {t} SET message_id = gen_random_uuid() WHERE id = 2`)
	if done := mark(t, c, all...); len(done) != 4 { // row 2 as it was is gone
		t.Errorf("settled %v", done)
	}
	if got := ids(f.readPass(s)); !slices.Equal(got, []int64{2}) {
		t.Errorf("the next pass brings %v", got)
	}
}
