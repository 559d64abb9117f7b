package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// Systems take turns, each round in another order; one that is missing and one that fails leave the others alone, and say so.
func TestRun(t *testing.T) {
	var turns []string
	system := func(name string, floor bool, took time.Duration) System {
		return System{Name: name, Floor: floor, Start: func(context.Context, *Lab) (Round, error) {
			return func(context.Context) (Measured, error) {
				turns = append(turns, name)
				return Measured{Samples: []time.Duration{took, took}}, nil
			}, nil
		}}
	}
	q := Question{Name: "q", Cases: []Case{{Name: "c", Systems: []System{
		system("floor", true, 10),
		system("ours", false, 30),
		{Name: "missing", Start: func(context.Context, *Lab) (Round, error) { return nil, ErrMissing }},
		{Name: "broken", Start: func(context.Context, *Lab) (Round, error) {
			return func(context.Context) (Measured, error) { return Measured{}, errors.New("it broke") }, nil
		}},
	}}}}
	r, err := Run(t.Context(), &Options{Questions: []Question{q}, Rounds: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(turns, " "); got != "floor ours ours floor" {
		t.Errorf("turns: %s", got)
	}
	if s := r.Find("q", "c", "ours"); s == nil || s.Rounds != 2 || s.PerOp != 30 || s.Ratio != 3 || s.Distribution.Count != 4 {
		t.Errorf("ours: %+v", s)
	}
	if s := r.Find("q", "c", "missing"); s == nil || s.Missing == "" || s.Rounds != 0 {
		t.Errorf("missing: %+v", s)
	}
	if s := r.Find("q", "c", "broken"); s == nil || s.Failed != "it broke" {
		t.Errorf("broken: %+v", s)
	}
	var text, file bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"floor: floor", "skipped: ", "failed: it broke", "3.00"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &text)
		}
	}
	if err := r.WriteJSON(&file); err != nil {
		t.Fatal(err)
	}
	back, err := ReadReport(&file)
	if err != nil || back.Find("q", "c", "ours").PerOp != 30 {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func TestRunUnknown(t *testing.T) {
	if _, err := Run(t.Context(), &Options{Only: []string{"registr"}}); err == nil || !strings.Contains(err.Error(), "register") {
		t.Errorf("got %v", err)
	}
	more := map[string][]System{"lookup/100,000 names": {{Name: "another"}}, "no/such": nil}
	if unknown := With(Questions(), more); len(unknown) != 1 || unknown[0] != "no/such" {
		t.Errorf("unknown: %v", unknown)
	}
}

// A picture is XML that a parser reads to its end, whatever stands in its texts, and no point lies outside.
func TestPicture(t *testing.T) {
	for _, c := range []Curve{
		{Name: "usual", Text: "a < b & c", X: "names", Y: "ns", Lines: []Line{{System: "toolbus", Points: []Point{{1000, 60}, {1e6, 900}}}, {System: "map", Points: []Point{{1000, 20}}}}},
		{Name: "one point", Lines: []Line{{Points: []Point{{5, 5}}}}},
		{Name: "none"},
	} {
		var b bytes.Buffer
		if err := c.WriteSVG(&b, Machine{CPU: "x", Date: time.Unix(0, 0)}); err != nil {
			t.Fatal(err)
		}
		circles := 0
		for dec := xml.NewDecoder(&b); ; {
			token, err := dec.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			if s, ok := token.(xml.StartElement); ok && s.Name.Local == "circle" {
				circles++
				for _, a := range s.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || strings.HasPrefix(a.Value, "-") {
						t.Errorf("%s: %s=%q", c.Name, a.Name.Local, a.Value)
					}
				}
			}
		}
		want := 0
		for _, l := range c.Lines {
			want += len(l.Points)
		}
		if circles != want {
			t.Errorf("%s: %d of %d points", c.Name, circles, want)
		}
	}
}
