package pagetest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
)

// watching counts what the page asks, and takes out of the relay's answer what one panel
// needs, if asked to.
const watching = `
window.asked = 0;
window.broken = "";
const take = {
  state: (shot) => { shot.troubles = null; },
  tiles: (shot) => { shot.load.in_flight = null; },
  relays: (shot) => { shot.totals = null; },
  waiting: (shot) => { shot.late = null; },
  plots: (shot) => { shot.history = null; },
  dead: (shot) => { shot.rows = {}; },
};
const real = window.fetch;
window.fetch = async (path, options) => {
  window.asked++;
  const answer = await real(path, options);
  if (path !== "/api/snapshot" || !window.broken || answer.status !== 200) return answer;
  const shot = await answer.json();
  take[window.broken](shot);
  return new Response(JSON.stringify(shot), { status: 200, headers: answer.headers });
};`

// watch is a page with that script.
func (w *world) watch(address string) *tab {
	w.Helper()
	b := newTab(w.T, 1200, 1000)
	b.do("watch", chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(watching).Do(ctx)
		return err
	}))
	b.visit("http://" + address + "/")
	return b
}

// published is how many messages the page has the relay say that it has published.
func (b *tab) published() (n int) {
	b.Helper()
	_, text, _ := strings.Cut(b.text("#relays"), "Since then ")
	_, _ = fmt.Sscanf(strings.ReplaceAll(text, ",", ""), "%d published", &n)
	return n
}

// What one panel cannot show is said, and the others go on.
func TestPanelThatFailsFailsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.relay()
	b := w.watch(relay.HTTPAddr())
	b.awaitText("#state-text", "Tailing.")
	for panel, old := range map[string]string{
		"state": "state.", "tiles": "tiles.", "relays": "relays.", "waiting": "waiting.", "plots": "", "dead": "tiles, dead.",
	} {
		get[bool](b, fmt.Sprintf("window.broken = %q, true", panel))
		if old != "" {
			b.awaitText("#broken", "These parts are old: "+old)
		} else { // a plot fails for itself
			b.awaitText("#plots", "cannot be drawn")
		}
		if panel != "relays" {
			before := b.published()
			await.Until(t, "others go on beside "+panel, func() bool {
				w.exec(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '{}')`)
				return b.published() > before
			})
		} else {
			await.Until(t, "others go on beside "+panel, func() bool {
				w.exec(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '{}')`)
				return !strings.Contains(b.text("#tiles"), "Messages a second\n0\n")
			})
		}
		if text := b.text("#stale"); text != "" {
			t.Errorf("%s: the page says that the relay does not answer: %s", panel, text)
		}
		get[bool](b, `window.broken = "", true`)
		await.Until(t, panel+" is shown again", func() bool {
			w.exec(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '{}')`)
			return b.text("#broken") == "" && !strings.Contains(b.text("#plots"), "cannot be drawn")
		})
	}
}

// A page that nobody sees asks nothing, and asks at once when it is seen.
func TestPageThatIsHiddenPauses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.relay()
	b := w.watch(relay.HTTPAddr())
	b.awaitText("#state-text", "Tailing.")
	before := get[int](b, "window.asked")
	await.Until(t, "it asks every few seconds", func() bool { return get[int](b, "window.asked") > before+1 })
	hide := func(hidden bool) {
		get[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", { configurable: true, get: () => %v }), document.dispatchEvent(new Event("visibilitychange")), true`, hidden))
	}
	hide(true)
	if err := w.broker.Kill(); err != nil {
		t.Fatal(err)
	}
	w.exec(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '{}')`)
	relay.AwaitLog("the broker takes no messages")
	// What was on its way comes within the first second; then nothing for three periods.
	get[bool](b, "new Promise(done => setTimeout(() => done(true), 1000))")
	before = get[int](b, "window.asked")
	get[bool](b, "new Promise(done => setTimeout(() => done(true), 9500))")
	if after := get[int](b, "window.asked"); after != before {
		t.Errorf("hidden, it asked %d times in ten seconds", after-before)
	}
	if text := b.text("#troubles"); text != "" {
		t.Errorf("hidden, it has learned %q", text)
	}
	hide(false)
	b.awaitText("#troubles", "NATS has taken no messages for")
	b.quiet()
}
