package pagetest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
)

// patience is how long a step in the browser may take.
const patience = time.Minute

// tab is a page of a browser of its own. What the page logs as an error is a failure.
type tab struct {
	*testing.T
	ctx context.Context

	mu     sync.Mutex
	logged []string
}

// chromium is the path of the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: install Debian's package chromium")
	return ""
}

func newTab(t *testing.T, width, height int64) *tab {
	t.Helper()
	dir, err := os.MkdirTemp("", "page-")
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(int(width), int(height)),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("lang", "en"),
		chromedp.WSURLReadTimeout(patience))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, closeTab := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	b := &tab{T: t, ctx: ctx}
	t.Cleanup(func() {
		closeTab()
		stop()
		_ = os.RemoveAll(dir)
	})
	chromedp.ListenTarget(ctx, b.listen)
	b.do("start", emulation.SetDeviceMetricsOverride(width, height, 1, width < 600))
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning || e.Type == runtime.APITypeAssert {
			b.logged = append(b.logged, fmt.Sprint(e.Type, " ", e.Args[0].Value, " ", e.Args[0].Description))
		}
	case *runtime.EventExceptionThrown:
		b.logged = append(b.logged, e.ExceptionDetails.Error())
	case *page.EventJavascriptDialogOpening:
		b.logged = append(b.logged, "a dialog: "+e.Message)
	}
}

// quiet fails if the page has logged errors.
func (b *tab) quiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.logged {
		b.Errorf("the page logged: %s", line)
	}
}

func (b *tab) do(what string, actions ...chromedp.Action) {
	b.Helper()
	if what != "start" { // the first one begins the browser, which would end with its context
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		if err := chromedp.Run(ctx, actions...); err != nil {
			b.Fatalf("%s: %v", what, err)
		}
		return
	}
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.Fatalf("start Chromium: %v", err)
	}
}

// get is the value of an expression of the page.
func get[T any](b *tab, expression string) T {
	b.Helper()
	var value T
	b.do(expression, chromedp.Evaluate(expression, &value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return value
}

// text is that of an element.
func (b *tab) text(selector string) string {
	b.Helper()
	return get[string](b, fmt.Sprintf("(document.querySelector(%q)?.innerText ?? '')", selector))
}

func (b *tab) awaitText(selector, part string) {
	b.Helper()
	last := ""
	defer func() {
		if b.Failed() {
			b.Logf("%s says %q", selector, last)
		}
	}()
	await.Until(b.T, selector+" says "+part, func() bool {
		last = b.text(selector)
		return strings.Contains(last, part)
	})
}

func (b *tab) click(selector string) {
	b.Helper()
	await.Until(b.T, selector+" can be clicked", func() bool {
		return get[bool](b, fmt.Sprintf("document.querySelector(%q)?.disabled !== true", selector))
	})
	b.do("click "+selector, chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

func (b *tab) write(selector, text string) {
	b.Helper()
	get[bool](b, fmt.Sprintf("document.querySelector(%q).value = '', true", selector))
	b.do("write into "+selector, chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

func (b *tab) theme(name string) {
	b.Helper()
	b.do(name, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}))
}

// shoot writes a screenshot of what is seen, if PAGE_IMAGES names a directory for them.
func (b *tab) shoot(name string) {
	b.Helper()
	dir := os.Getenv("PAGE_IMAGES")
	if dir == "" {
		return
	}
	var image []byte
	b.do("screenshot", chromedp.ActionFunc(func(ctx context.Context) error {
		var err error
		image, err = page.CaptureScreenshot().WithFormat(page.CaptureScreenshotFormatWebp).WithQuality(80).WithCaptureBeyondViewport(false).Do(ctx)
		return err
	}))
	if err := os.WriteFile(filepath.Join(dir, name+".webp"), image, 0o600); err != nil {
		b.Fatal(err)
	}
}

// accessible runs axe-core on the page as it is.
func (b *tab) accessible(when string) {
	b.Helper()
	source, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		b.Fatalf("%v: make page-test installs it", err)
	}
	// Its own scripts may not be loaded into the page, but evaluated by the browser's tools.
	b.do("load axe-core", chromedp.Evaluate(string(source)+";true", nil))
	found := get[string](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, help: v.help, where: v.nodes.map(n => n.html + " " + n.failureSummary)}))))`)
	var violations []struct {
		ID, Help string
		Where    []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.Fatal(err)
	}
	for _, v := range violations {
		b.Errorf("%s: axe-core finds %s: %s\n\t%s", when, v.ID, v.Help, strings.Join(v.Where, "\n\t"))
	}
}

func (b *tab) visit(url string) {
	b.Helper()
	b.do("open "+url, chromedp.Navigate(url))
}

// keys presses keys, wherever the focus is.
func (b *tab) keys(all ...string) {
	b.Helper()
	for _, keys := range all {
		b.do("press keys", chromedp.KeyEvent(keys))
	}
}

// tabTo presses Tab until an element has the focus.
func (b *tab) tabTo(selector string) {
	b.Helper()
	for range 60 {
		if get[bool](b, fmt.Sprintf("document.activeElement === document.querySelector(%q)", selector)) {
			return
		}
		b.keys(kb.Tab)
	}
	b.Fatalf("Tab does not lead to %s", selector)
}
