package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is all that a run found, with the machine that it ran on. It is what stands in the files under results.
type Report struct {
	Machine Machine  `json:"machine"`
	Rounds  int      `json:"rounds"`
	Answers []Answer `json:"answers"`
	Curves  []Curve  `json:"curves,omitempty"`
}

// Answer is what was found for one question.
type Answer struct {
	Question string       `json:"question"`
	Text     string       `json:"text"`
	Cases    []CaseResult `json:"cases"`
}

// CaseResult has a line for each system.
type CaseResult struct {
	Case    string         `json:"case"`
	Work    string         `json:"work,omitempty"`
	Systems []SystemResult `json:"systems"`
}

// SystemResult is one line: medians over the rounds, and the distribution of all samples of all rounds.
type SystemResult struct {
	System       string        `json:"system"`
	Floor        bool          `json:"floor,omitempty"`
	Missing      string        `json:"missing,omitempty"`
	Failed       string        `json:"failed,omitempty"`
	Rounds       int           `json:"rounds"`
	PerOp        time.Duration `json:"perOp"` // nanoseconds
	CPUPerOp     time.Duration `json:"cpuPerOp,omitempty"`
	Distribution Distribution  `json:"distribution"`
	// Ratio is PerOp over that of the case's first floor; 0 without one.
	Ratio  float64            `json:"ratio,omitempty"`
	Values map[string]float64 `json:"values,omitempty"`
}

func (c *CaseResult) ratios() {
	i := slices.IndexFunc(c.Systems, func(s SystemResult) bool { return s.Floor && s.PerOp > 0 })
	if i < 0 {
		return
	}
	floor := c.Systems[i].PerOp
	for i := range c.Systems {
		c.Systems[i].Ratio = float64(c.Systems[i].PerOp) / float64(floor)
	}
}

// Find is the line of a system in a case of a question, nil if there is none.
func (r *Report) Find(question, name, system string) *SystemResult {
	for _, a := range r.Answers {
		for _, c := range a.Cases {
			for i := range c.Systems {
				if a.Question == question && c.Case == name && c.Systems[i].System == system {
					return &c.Systems[i]
				}
			}
		}
	}
	return nil
}

// WriteJSON writes the report as one indented JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(r)
}

// ReadReport reads what WriteJSON wrote.
func ReadReport(rd io.Reader) (*Report, error) {
	var r Report
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		return nil, fmt.Errorf("bench: not a report: %w", err)
	}
	return &r, nil
}

// WriteText writes the report as tables for people.
func (r *Report) WriteText(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d cores, %s, %s, %s\n", m.CPU, m.Cores, m.Memory, m.System, m.Go)
	fmt.Fprintf(w, "%s, commit %s, load %s, %d rounds; times are medians of rounds, percentiles of all operations\n", m.Date.Format(time.RFC3339), m.Commit, m.Load, r.Rounds)
	for _, a := range r.Answers {
		fmt.Fprintf(w, "\n%s: %s\n", a.Question, a.Text)
		for _, c := range a.Cases {
			if err := c.writeText(w); err != nil {
				return err
			}
		}
	}
	for _, c := range r.Curves {
		if err := c.writeText(w); err != nil {
			return err
		}
	}
	return nil
}

func (c CaseResult) writeText(w io.Writer) error {
	fmt.Fprintf(w, "\n  %s", c.Case)
	if c.Work != "" {
		fmt.Fprintf(w, " (%s)", c.Work)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "  \teach\t/floor\tp50\tp99\tp99.9\tmax\tCPU each\t")
	for _, s := range c.Systems {
		name := s.System
		if s.Floor {
			name = "floor: " + name
		}
		switch {
		case s.Missing != "":
			fmt.Fprintf(t, "  %s\tskipped: %s\t\n", name, s.Missing)
			continue
		case s.Failed != "" && s.Rounds == 0:
			fmt.Fprintf(t, "  %s\tfailed: %s\t\n", name, s.Failed)
			continue
		}
		ratio := ""
		if s.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", s.Ratio)
		}
		d := s.Distribution
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t", name, short(s.PerOp), ratio, short(d.P50), short(d.P99), short(d.P999), short(d.Max), short(s.CPUPerOp))
		for _, k := range slices.Sorted(maps.Keys(s.Values)) {
			fmt.Fprintf(t, " %s %.4g", k, s.Values[k])
		}
		if s.Failed != "" {
			fmt.Fprintf(t, " failed after %d rounds: %s", s.Rounds, s.Failed)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// short writes a duration with three digits that count.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return digits(float64(d)/1e3) + " µs"
	case d < time.Second:
		return digits(float64(d)/1e6) + " ms"
	}
	return digits(d.Seconds()) + " s"
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
