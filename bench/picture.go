package bench

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// The size of a picture, and the margins around its plot, in pixels.
const (
	pictureWide, pictureHigh = 640, 400
	marginLeft, marginRight  = 76, 150
	marginTop, marginBottom  = 48, 52
)

// lineColors are told apart by people who see no red or green, too.
var lineColors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// WriteSVG draws the curve, both axes in powers of ten. The picture needs nothing else: no script, no font of its own.
func (c Curve) WriteSVG(w io.Writer, m Machine) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", pictureWide, pictureHigh)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", pictureWide, pictureHigh)
	text := func(x, y float64, anchor, style, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(s))
	}
	text(marginLeft, 20, "start", ` font-weight="bold"`, c.Text)
	text(marginLeft, 36, "start", ` fill="#666" font-size="10"`, fmt.Sprintf("%s, %d cores, %s", m.CPU, m.Cores, m.Date.Format("2006-01-02")))
	x, y := c.scales()
	const bottom, right = pictureHigh - marginBottom, pictureWide - marginRight
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", x.at(v), marginTop, x.at(v), bottom)
		text(x.at(v), bottom+16, "middle", "", power(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", marginLeft, y.at(v), right, y.at(v))
		text(marginLeft-8, y.at(v)+4, "end", "", power(v))
	}
	text((marginLeft+right)/2, pictureHigh-14, "middle", "", c.X)
	text(16, (marginTop+bottom)/2, "middle", fmt.Sprintf(` transform="rotate(-90 16 %d)"`, (marginTop+bottom)/2), c.Y)
	for i, l := range c.Lines {
		color := lineColors[i%len(lineColors)]
		var points []string
		for _, p := range l.Points {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(p.X), y.at(p.Y)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %.0f %s, %.3g %s</title></circle>`+"\n", x.at(p.X), y.at(p.Y), color, html.EscapeString(l.System), p.X, html.EscapeString(c.X), p.Y, html.EscapeString(c.Y))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), color)
		if n := len(l.Points); n > 0 {
			last := l.Points[n-1]
			text(x.at(last.X)+8, y.at(last.Y)+4, "start", fmt.Sprintf(` fill="%s"`, color), fmt.Sprintf("%s %.3g", l.System, last.Y))
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// scale maps values to pixels by their logarithm.
type scale struct{ low, high, from, to float64 }

func (s scale) at(v float64) float64 {
	return s.from + (math.Log10(v)-s.low)/(s.high-s.low)*(s.to-s.from)
}

// ticks are the powers of ten on the scale.
func (s scale) ticks() (list []float64) {
	for e := math.Ceil(s.low); e <= s.high; e++ {
		list = append(list, math.Pow(10, e))
	}
	return list
}

// scales fit all points, the vertical one in whole powers of ten. Values of 0 and less have no logarithm, and are drawn at the bottom.
func (c Curve) scales() (x, y scale) {
	x = scale{math.Inf(1), math.Inf(-1), marginLeft, pictureWide - marginRight}
	y = scale{math.Inf(1), math.Inf(-1), pictureHigh - marginBottom, marginTop}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			for s, v := range map[*scale]float64{&x: p.X, &y: p.Y} {
				if v > 0 {
					s.low, s.high = min(s.low, math.Log10(v)), max(s.high, math.Log10(v))
				}
			}
		}
	}
	for _, s := range []*scale{&x, &y} {
		if s.low > s.high {
			s.low, s.high = 0, 1
		}
	}
	y.low, y.high = math.Floor(y.low), math.Ceil(y.high)
	for _, s := range []*scale{&x, &y} {
		if s.high-s.low < 1e-9 {
			s.high++
		}
	}
	return x, y
}

// power writes a power of ten for people.
func power(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}
