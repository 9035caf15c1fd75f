package pagetest

import (
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The pictures of docs/page.md: PAGE_IMAGES=../../docs/images make page-test. It takes two
// minutes, for plots with something on them.
func TestImagesOfTheDocs(t *testing.T) {
	if os.Getenv("PAGE_IMAGES") == "" {
		t.Skip("PAGE_IMAGES names no directory")
	}
	w := newWorld(t)
	leader := w.relay("OUTBOX_ADMIN_TOKEN", token)
	leader.AwaitLog(`"msg":"tailing"`)
	w.relay()
	w.exec(`INSERT INTO outbox (topic, key, payload, attempts, dead_at, last_error, error_type)
		SELECT (ARRAY['orders.created', 'orders.paid', 'billing.invoiced'])[1 + n % 3], 'order-' || 4000 + n * 7, json_build_object('order', 4000 + n * 7, 'total', 9.90), 10,
			now() - n * interval '3 min', 'unroutable: no stream has the subject', 'unroutable' FROM generate_series(1, 14) AS n`)
	b := w.open(leader, 1200, 860)
	b.theme("light")
	for n := range 100 {
		w.insertSome(40 + 8*(n%12))
		_ = relay.Sleep(t.Context(), 900*time.Millisecond)
	}
	b.shoot("page-light")
	b.theme("dark")
	b.shoot("page-dark")
	b.theme("light")
	b.write("#token", token)
	b.keys(kb.Enter)
	b.awaitText("#token-state", "accepted")
	b.write("#f-topic", "orders.*")
	b.click("#filter button[type=submit]")
	b.awaitText("#dead-say", " rows")
	b.click("#replay")
	b.awaitText("#ask-title", "Replay")
	b.shoot("dead-rows")
	b.click("#ask-no")
	get[bool](b, "scrollTo(0, 0), true")
	if err := w.broker.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 42 {
		w.insertSome(60)
		_ = relay.Sleep(t.Context(), 900*time.Millisecond)
	}
	b.shoot("page-down")
	phone := w.open(leader, 390, 844)
	phone.theme("dark")
	phone.awaitText("#troubles", "nothing is lost")
	_ = relay.Sleep(t.Context(), 2*time.Second)
	phone.shoot("phone-dark")
}

func (w *world) insertSome(n int) {
	w.Helper()
	w.exec(`INSERT INTO outbox (topic, key, payload) SELECT 'orders.created', 'order-' || n, '{"total": 9.90}' FROM generate_series(1, $1::int) AS n`, n)
}
