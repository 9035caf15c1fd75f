package pagetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
)

// answering has the relay's answer about the progress be another one, if asked to.
const answering = `
window.progress = null;
const real = window.fetch;
window.fetch = async (path, options) => path === "/api/dead/progress" && window.progress ? new Response(...window.progress) : real(path, options);`

// The page tells of its own replay or discard. It neither takes the numbers of somebody
// else's for its own, nor waits for ever where it may not ask any more.
func TestPageTellsOfItsOwnReplayOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.relay()
	b := newTab(t, 1200, 1000)
	b.do("answer", chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(answering).Do(ctx)
		return err
	}))
	b.visit("http://" + relay.HTTPAddr() + "/")
	b.write("#token", token)
	b.do("enter", chromedp.SendKeys("#token", kb.Enter, chromedp.ByQuery))
	b.awaitText("#token-state", "accepted")
	for answer, said := range map[string]string{
		`['{"action":"discard","began_at":"2026-01-01T00:00:00Z","running":true,"count":5,"changed":2}', { status: 200 }]`: "Another replay or discard has begun since.",
		`['{"action":"","began_at":null,"running":false,"count":0,"changed":0}', { status: 200 }]`:                         "The relay knows of none: it was started anew, or another relay has answered. The log of the one that began it has the numbers.",
		`['the token is wrong', { status: 401 }]`:                                                                          "the token is wrong The relay's log has the numbers of yours.",
	} {
		w.exec(`INSERT INTO outbox (topic, payload, attempts, dead_at, last_error) VALUES ('orders.created', '{}', 10, now(), 'unroutable: none')`)
		get[bool](b, fmt.Sprintf("window.progress = %s, true", answer))
		b.click("#filter button[type=submit]")
		b.awaitText("#dead-say", "1 row")
		b.click("#replay")
		b.awaitText("#ask-title", "Replay 1 dead row?")
		b.click("#ask-yes")
		b.awaitText("#progress-say", said)
		get[bool](b, "window.progress = null, true")
		await.Until(t, "it is replayed", func() bool { return w.count("dead_at IS NOT NULL") == 0 })
	}
	b.quiet()
}
