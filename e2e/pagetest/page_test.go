package pagetest

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
)

// What is wrong is said on the page while it lasts, in light and dark, and each plot has
// its label and its table.
func TestPageFollowsABrokerThatGoesDownAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.relay()
	b := w.open(relay, 1200, 1000)
	b.awaitText("#state-text", "Tailing.")
	w.exec(`INSERT INTO outbox (topic, key, payload) SELECT 'orders.created', 'order-' || n, '{}' FROM generate_series(1, 500) AS n`)
	b.awaitText("#relays", "leads")
	await.Until(t, "the plots show the messages", func() bool {
		return strings.Contains(get[string](b, `document.querySelector("#plot-throughput").getAttribute("aria-label")`), "at most")
	})
	if level := get[string](b, `document.querySelector("#state").dataset.level`); level != "good" {
		t.Errorf("the level is %s: %s", level, b.text("#troubles"))
	}
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		b.accessible(theme)
	}
	b.theme("light")
	if err := w.broker.Kill(); err != nil {
		t.Fatal(err)
	}
	w.exec(`INSERT INTO outbox (topic, payload) SELECT 'orders.created', '{}' FROM generate_series(1, 1200)`)
	b.awaitText("#troubles", "NATS has taken no messages for")
	b.awaitText("#troubles", "nothing is lost")
	b.awaitText("#troubles", "1,200 rows wait")
	b.accessible("a broker down")
	if level := get[string](b, `document.querySelector("#state").dataset.level`); level != "bad" {
		t.Errorf("the level is %s", level)
	}
	if err := w.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "all is well again", func() bool {
		return get[string](b, `document.querySelector("#state").dataset.level`) == "good" && strings.Contains(b.text("#state-text"), "no row waits")
	})
	for _, plot := range []string{"throughput", "pending", "oldest", "latency", "breaker"} {
		b.click("section[aria-labelledby=title-" + plot + "] summary")
		await.Until(t, plot+" has a table", func() bool {
			return get[int](b, `document.querySelectorAll("section[aria-labelledby=title-`+plot+`] tbody tr").length`) > 1
		})
	}
	b.accessible("tables open")
	// The relay ends: the page says so, and shows what it knew.
	relay.Kill()
	b.awaitText("#stale", "The relay does not answer")
	if !strings.Contains(b.text("#tiles"), "Rows that wait") {
		t.Error("the page is empty")
	}
	b.quiet()
}

// Dead rows are found, looked at and replayed by clicks, with a preview of the count, and
// the page says how many were really changed.
func TestDeadRowsAreReplayedByClick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.relay()
	w.exec(`INSERT INTO outbox (id, topic, key, payload, attempts, dead_at, last_error, error_type) OVERRIDING SYSTEM VALUE
		SELECT 9007199254740990 + n, CASE WHEN n <= 3 THEN 'orders.created' ELSE 'orders.paid' END, 'order-' || n, '{"big": 9007199254740993, "n": 1.10}', 10,
			now() - interval '1 h', 'unroutable: no stream has it', 'unroutable' FROM generate_series(1, 70) AS n`)
	b := w.open(relay, 1200, 1000)
	b.awaitText("#dead-say", "50 on this page")
	b.awaitText("#troubles", "70 rows are dead, and wait for a person")
	if !get[bool](b, `document.querySelector("#replay").disabled`) || !strings.Contains(b.text("#read-only"), "give the admin token") {
		t.Error("it can be changed without a token")
	}
	b.click("#dead-next")
	b.awaitText("#dead-say", "20 on the last page")
	b.write("#token", token+"x")
	b.do("enter", chromedp.SendKeys("#token", kb.Enter, chromedp.ByQuery))
	b.awaitText("#token-state", "the token is wrong")
	b.write("#token", token)
	b.do("enter", chromedp.SendKeys("#token", kb.Enter, chromedp.ByQuery))
	b.awaitText("#token-state", "accepted")

	b.click("#filter-clear")
	b.write("#f-topic", "*.created")
	b.click("#filter button[type=submit]")
	b.awaitText("#dead-say", "3 rows")
	if q := get[string](b, "location.search"); q != "?topic=*.created" {
		t.Errorf("the address has %q", q)
	}
	b.click("#dead-rows button")
	b.click("#dead-rows dl ~ .buttons button, #dead-rows .buttons button")
	b.awaitText("#dead-rows pre", `{"big": 9007199254740993, "n": 1.10}`)
	if text := b.text("#dead-rows"); !strings.Contains(text, "9007199254740991") {
		t.Errorf("ids have lost digits: %s", text)
	}
	b.accessible("dead rows")
	b.click("#replay")
	b.awaitText("#ask-title", "Replay 3 dead rows?")
	b.accessible("the question")
	b.click("#ask-yes")
	b.awaitText("#progress-say", "3 of 3 rows replayed.")
	await.Until(t, "they are sent", func() bool { return w.count("sent_at IS NOT NULL") == 3 })
	relay.AwaitLog(`"msg":"dead rows are changed over HTTP"`, `"action":"replay"`, `"topic":"*.created"`, `"caller":"127.0.0.1:`)
	relay.AwaitLog(`"msg":"dead rows were changed over HTTP"`, `"changed":3`)

	// What changed since the preview is not what was asked for.
	b.click("#filter-clear")
	b.awaitText("#dead-say", "50 on this page")
	b.click("#discard")
	b.awaitText("#ask-title", "Discard all 67 dead rows?")
	w.exec(`DELETE FROM outbox WHERE id = 9007199254740990 + 70`)
	b.click("#ask-yes")
	b.awaitText("#progress-say", "nothing was changed: the filter takes 66 rows now, and took 67 when they were counted")
	b.click("#discard")
	b.awaitText("#ask-title", "Discard all 66 dead rows?")
	b.click("#ask-yes")
	b.awaitText("#progress-say", "66 of 66 rows discarded.")
	b.awaitText("#dead-say", "No dead rows.")
	if n := w.count("true"); n != 3 {
		t.Errorf("%d rows are left", n)
	}
	b.quiet()
}

// The whole of it works without a mouse, on a phone.
func TestPageWorksOnAPhoneByKeyboardAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.relay()
	w.exec(`INSERT INTO outbox (topic, key, payload, attempts, dead_at, last_error, error_type)
		VALUES ('orders.created', repeat('k', 300), '{}', 10, now(), repeat('unroutable', 60), 'unroutable')`)
	b := w.open(relay, 360, 740)
	b.awaitText("#dead-say", "1 row")
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		b.accessible("a phone, " + theme)
	}
	if wide := get[int](b, "document.documentElement.scrollWidth"); wide > 360 {
		t.Errorf("the page is %d pixels wide on a phone of 360: %s", wide, get[string](b, `[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > 360).map(e => e.tagName + "#" + e.id + "." + e.className).join(" ")`))
	}
	// Tab goes everywhere; Enter does it.
	b.tabTo("#token")
	b.keys(token, kb.Enter)
	b.awaitText("#token-state", "accepted")
	await.Until(t, "rows may be changed", func() bool { return get[bool](b, `!document.querySelector("#replay").disabled`) })
	b.tabTo("#replay")
	b.keys(kb.Enter)
	b.awaitText("#ask-title", "Replay 1 dead row?")
	b.tabTo("#ask-yes")
	b.keys(kb.Enter)
	b.awaitText("#progress-say", "1 of 1 row replayed.")
	await.Until(t, "it is sent", func() bool { return w.count("sent_at IS NOT NULL") == 1 })
	b.quiet()
}

// hostile is text that would be markup, or a script, if it were not taken for text.
const hostile = `"><img src=x onerror="document.title='owned'"><script>document.title='owned'</script><b id=owned>{{7*7}}${7*7}</b>` + "\u202e'--"

// Rows are written by whoever may insert: whatever they contain is shown as text.
func TestHostileTextIsShownAsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO outbox (topic, key, payload, content_type, headers, attempts, dead_at, last_error, error_type)
		VALUES ($1, $1, to_json($1::text), $1, json_build_object($1::text, $1::text)::jsonb, 10, now(), $1, $1)`, hostile)
	// A row that is refused, and one of its key that waits for it.
	// Of a long key the relay knows a hash.
	w.exec(`INSERT INTO outbox (topic, key, payload) VALUES ('nowhere', $1, '{}'), ('orders.created', $1, '{}')`, "<img src=x onerror=x()>")
	relay := w.relay("OUTBOX_MODE", "polling", "OUTBOX_RETRY_MIN", "5m", "OUTBOX_RETRY_MAX", "5m")
	b := w.open(relay, 1000, 900)
	b.write("#token", token)
	b.do("enter", chromedp.SendKeys("#token", kb.Enter, chromedp.ByQuery))
	b.awaitText("#token-state", "accepted")
	b.awaitText("#dead-say", "1 row")
	b.awaitText("#waiting", "<img src=x")
	// The rows are listed once more when the token is accepted, which may close one.
	await.Until(t, "the payload is shown", func() bool {
		return get[bool](b, `(() => {
			const shown = document.querySelector("#dead-rows pre");
			if (shown) return shown.textContent.includes("onerror");
			(document.querySelector("#dead-rows .buttons button") || document.querySelector("#dead-rows button")).click();
			return false;
		})()`)
	})
	b.click("#replay")
	b.awaitText("#ask-groups", "<script>")
	for _, column := range []string{"td:nth-child(3)", "td:nth-child(4)", "td:nth-child(5)", "dd", "pre"} {
		if text := b.text("#dead-rows " + column); column != "dd" && !strings.Contains(text, "<img src=x") {
			t.Errorf("%s has no such text: %q", column, text)
		}
	}
	if n := get[int](b, `document.querySelectorAll("img, b, main script, dialog script, #owned").length`); n != 0 {
		t.Errorf("%d elements were made of it", n)
	}
	if title := get[string](b, "document.title"); strings.Contains(title, "owned") {
		t.Error("its script has run")
	}
	b.quiet()
}
