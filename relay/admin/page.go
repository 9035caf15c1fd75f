package admin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
)

// pageFiles is the page, with nothing from elsewhere. uPlot draws the plots; uplot/LICENSE
// is its licence.
//
//go:embed page/index.html page/icon.svg page/*.css page/*.js page/uplot/*.js page/uplot/*.css page/uplot/LICENSE
var pageFiles embed.FS

// pathPage is where the page is.
const pathPage = "/"

// pageFile is a file of the page, and where it is served.
type pageFile struct{ path, name, contentType string }

const javaScript, styles = "text/javascript; charset=utf-8", "text/css; charset=utf-8"

var pageParts = []pageFile{
	{pathPage, "index.html", "text/html; charset=utf-8"},
	{"/page/icon.svg", "icon.svg", "image/svg+xml"},
	{"/page/page.css", "page.css", styles},
	{"/page/page.js", "page.js", javaScript},
	{"/page/api.js", "api.js", javaScript},
	{"/page/dead.js", "dead.js", javaScript},
	{"/page/dom.js", "dom.js", javaScript},
	{"/page/panels.js", "panels.js", javaScript},
	{"/page/plots.js", "plots.js", javaScript},
	{"/page/uPlot.iife.min.js", "uplot/uPlot.iife.min.js", javaScript},
	{"/page/uPlot.min.css", "uplot/uPlot.min.css", styles},
	{"/page/uPlot.LICENSE", "uplot/LICENSE", plainText},
}

// addPage adds the page's files. A browser asks each time whether they are the same: a new
// version of the relay must not meet an old page.
func (s *Server) addPage(to routes) {
	for _, part := range pageParts {
		text, err := pageFiles.ReadFile(path.Join("page", part.name))
		if err != nil {
			panic(err) // it is embedded
		}
		sum := sha256.Sum256(text)
		etag := `"` + hex.EncodeToString(sum[:12]) + `"`
		to[part.path] = route{http.MethodGet, probes, func(w http.ResponseWriter, r *http.Request, _ caller) {
			h := w.Header()
			h.Set("Cache-Control", "no-cache")
			h.Set("ETag", etag)
			h.Set("Content-Type", part.contentType)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write(text) // the peer may have gone
		}}
	}
}
