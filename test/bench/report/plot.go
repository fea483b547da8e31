package report

import (
	"fmt"
	"html"
	"strings"

	"github.com/sipward/sipward/test/bench/compare"
)

// Measures of the plot, in pixels.
const (
	plotWidth, plotHeight         = 720, 340
	plotLeft, plotTop, plotBottom = 60, 70, 60
	barWidth                      = 34
)

// colours of the relays: readable on light and dark ground, and apart for those
// who do not see red and green.
var colours = map[string]string{compare.Sipward: "#2a6fbb", compare.RTPEngine: "#e08a1e"}

// Plot draws the cases' CPU time per packet as pairs of bars, in SVG, without a
// lone call: waking up for it is another matter than relaying, and ten times as much.
func Plot(all []*compare.Case) string {
	var cases []*compare.Case
	for _, c := range all {
		if c.Calls > 1 {
			cases = append(cases, c)
		}
	}
	most := 1.0
	for _, c := range cases {
		for relay := range colours {
			most = max(most, microseconds(c.PerPacket(relay)))
		}
	}
	step := 1.0
	for most/step > 8 {
		step *= 2
	}
	const floor = plotHeight - plotBottom
	height := func(us float64) float64 { return us / most * (floor - plotTop) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, plotHeight)
	text := func(x, y float64, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
	}
	text(plotLeft, 22, "start", "CPU time per packet delivered, in µs; less is better")
	for i, relay := range []string{compare.Sipward, compare.RTPEngine} {
		x := float64(plotLeft + 120*i)
		fmt.Fprintf(&b, `<rect x="%.1f" y="34" width="12" height="12" fill="%s"/>`+"\n", x, colours[relay])
		text(x+18, 45, "start", relay)
	}
	for us := 0.0; us <= most; us += step {
		y := floor - height(us)
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", plotLeft, y, plotWidth-20, y)
		text(plotLeft-8, y+4, "end", fmt.Sprintf("%g", us))
	}
	room := float64(plotWidth-20-plotLeft) / float64(max(1, len(cases)))
	for i, c := range cases {
		middle := plotLeft + room*(float64(i)+0.5)
		for j, relay := range []string{compare.Sipward, compare.RTPEngine} {
			if !c.Has(relay) {
				continue
			}
			us := microseconds(c.PerPacket(relay))
			x := middle + float64(j-1)*(barWidth+2)
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%d" height="%.1f" fill="%s"/>`+"\n", x, floor-height(us), barWidth, height(us), colours[relay])
			text(x+barWidth/2, floor-height(us)-4, "middle", fmt.Sprintf("%.1f", us))
		}
		text(middle, floor+18, "middle", fmt.Sprintf("%d calls", c.Calls))
		text(middle, floor+36, "middle", strings.TrimPrefix(strings.TrimSuffix(c.Suite, "_HMAC_SHA1_80"), "AEAD_"))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
