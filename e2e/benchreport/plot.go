package main

import (
	"fmt"
	"html"
	"strings"
)

// plot is horizontal bars, in groups.
type plot struct {
	title, unit string
	format      string  // of a value
	scale       float64 // the value that a whole bar stands for
	groups      []group
}

// group is bars under a heading.
type group struct {
	name string
	bars []bar
}

// bar is one value. A bar without color is the plot's first color.
type bar struct {
	name  string
	value float64
	other bool // what the relay is compared with
}

// look is the colors of a plot.
type look struct{ name, text, faint, grid, main, other string }

var (
	light = look{name: "light", text: "#1f2328", faint: "#59636e", grid: "#d1d9e0", main: "#1f6feb", other: "#9a6700"}
	dark  = look{name: "dark", text: "#f0f6fc", faint: "#9198a1", grid: "#3d444d", main: "#4493f8", other: "#d29922"}
)

// plots returns the plots for which there are figures, by name.
func plots(figures map[string]float64) map[string]plot {
	found := make(map[string]plot)
	for name, p := range map[string]plot{"rates": ratePlot(figures), "latency": latencyPlot(figures)} {
		if len(p.groups) > 0 {
			found[name] = p
		}
	}
	return found
}

// ratePlot shows how fast a backlog is drained.
func ratePlot(figures map[string]float64) plot {
	p := plot{
		title: "A backlog of rows, drained", unit: "as a share of the rate of a program that only publishes, on the same cores",
		format: "%.2f", scale: 1,
	}
	p.add(figures, "NATS JetStream",
		named{"ratio_1000_keys", "1,000 keys"}, named{"ratio_1000_keys_deleted", "1,000 keys, deleted"}, named{"ratio_each_key_once", "each key once"},
		named{"ratio_burst", "one transaction, while tailing"}, named{"ratio_1_key", "one key"}, named{"ratio_1_key_fast_ingest_off", "one key, without batches"})
	p.add(figures, "RabbitMQ, quorum queue",
		named{"rabbitmq_ratio", "1,000 keys"}, named{"ratio_rabbitmq_one_key_window_1024", "one key, window of 1,024"},
		named{"ratio_rabbitmq_one_key_window_64", "one key, window of 64"}, named{"ratio_rabbitmq_one_key_window_1", "one key, window of 1"})
	return p
}

// latencyPlot shows how long a row takes.
func latencyPlot(figures map[string]float64) plot {
	p := plot{title: "From the commit to the broker's acknowledgement", unit: "milliseconds", format: "%.2f"}
	for _, rate := range []string{"500", "2000"} {
		p.add(figures, rate+" rows/s",
			named{"relay_" + rate + "_rows_p50_ms", "median"}, named{"floor_" + rate + "_rows_p50_ms", "a hand-written loop"},
			named{"relay_" + rate + "_rows_p99_ms", "99 of 100"}, named{"floor_" + rate + "_rows_p99_ms", "a hand-written loop"})
	}
	return p
}

// named is a figure with what people call it.
type named struct{ figure, name string }

// add adds a group with the figures that there are.
func (p *plot) add(figures map[string]float64, heading string, wanted ...named) {
	g := group{name: heading}
	for _, w := range wanted {
		if v, ok := figures[w.figure]; ok {
			g.bars = append(g.bars, bar{name: w.name, value: v, other: strings.HasPrefix(w.figure, "floor_")})
			p.scale = max(p.scale, v)
		}
	}
	if len(g.bars) > 0 {
		p.groups = append(p.groups, g)
	}
}

// Measures of a plot, in pixels.
const (
	width, margin = 720, 16
	barsFrom      = 260
	barsTo        = width - 64
	rowHeight     = 22
	barHeight     = 14
)

func (p plot) svg(l look) string {
	var body strings.Builder
	text := func(x, y int, size int, color, anchor, s string) {
		fmt.Fprintf(&body, `<text x="%d" y="%d" font-size="%d" fill="%s" text-anchor="%s">%s</text>`+"\n", x, y, size, color, anchor, html.EscapeString(s))
	}
	text(margin, 26, 16, l.text, "start", p.title)
	text(margin, 46, 12, l.faint, "start", p.unit)
	y := 58
	for _, g := range p.groups {
		y += rowHeight
		text(margin, y, 13, l.text, "start", g.name)
		for _, b := range g.bars {
			y += rowHeight
			color := l.main
			if b.other {
				color = l.other
			}
			length := max(1, int(b.value/p.scale*(barsTo-barsFrom)))
			text(barsFrom-10, y, 12, l.faint, "end", b.name)
			fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%d" height="%d" rx="2" fill="%s"/>`+"\n", barsFrom, y-barHeight+3, length, barHeight, color)
			text(barsFrom+length+6, y, 12, l.text, "start", fmt.Sprintf(p.format, b.value))
		}
	}
	height := y + margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" font-family="system-ui, sans-serif">
<title>%s, %s</title>
<line x1="%d" y1="62" x2="%d" y2="%d" stroke="%s"/>
%s</svg>
`, width, height, width, height, html.EscapeString(p.title), html.EscapeString(p.unit), barsFrom, barsFrom, height-margin/2, l.grid, body.String())
}
