package bench

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Curve is how a cost grows.
type Curve struct {
	Name  string `json:"name"` // of its file, too
	Text  string `json:"text"`
	X     string `json:"x"` // what grows
	Y     string `json:"y"` // the unit of the cost
	Lines []Line `json:"lines"`
}

// Line is one system's cost.
type Line struct {
	System string  `json:"system"`
	Points []Point `json:"points"`
	Failed string  `json:"failed,omitempty"` // why there are no more points
}

// Point is one measurement.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// curve says how one is measured: at each x in turn, in a lab of its own.
type curve struct {
	Curve
	system string
	xs     []int
	at     func(ctx context.Context, lab *Lab, x int) (float64, error)
}

// CurveNames are the names of the curves that Curves measures.
func CurveNames() (names []string) {
	for _, c := range curves() {
		names = append(names, c.Name)
	}
	return names
}

// Curves measures how costs grow, those named or all. A point that fails ends its line, and the line says why. Options count as for Run, but for the questions.
func Curves(ctx context.Context, names []string, opts *Options) ([]Curve, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	var out []Curve
	for _, c := range curves() {
		if len(names) > 0 && !wanted(c.Name, names) {
			continue
		}
		line := Line{System: c.system}
		for i, x := range c.xs {
			if o.Progress != nil {
				o.Progress("curve "+c.Name, fmt.Sprintf("%s = %d", c.X, x), i+1, len(c.xs))
			}
			y, err := func() (float64, error) {
				lab, err := newLab(o.Child, o.Toolbus)
				if err != nil {
					return 0, err
				}
				defer lab.Close()
				ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
				defer cancel()
				return c.at(ctx, lab, x)
			}()
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
			if err != nil {
				line.Failed = err.Error()
				break
			}
			line.Points = append(line.Points, Point{float64(x), y})
		}
		c.Lines = append(c.Lines, line)
		if i := indexCurve(out, c.Name); i >= 0 {
			out[i].Lines = append(out[i].Lines, line)
			continue
		}
		out = append(out, c.Curve)
	}
	return out, nil
}

func indexCurve(list []Curve, name string) int {
	for i, c := range list {
		if c.Name == name {
			return i
		}
	}
	return -1
}

func (c Curve) writeText(w io.Writer) error {
	fmt.Fprintf(w, "\n%s: %s\n", c.Name, c.Text)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, l := range c.Lines {
		fmt.Fprintf(t, "  %s\t%s\t\n", c.X, c.Y+", "+l.System)
		for _, p := range l.Points {
			fmt.Fprintf(t, "  %.0f\t%.4g\t\n", p.X, p.Y)
		}
		if l.Failed != "" {
			fmt.Fprintf(t, "  \t%s\t\n", l.Failed)
		}
	}
	return t.Flush()
}
