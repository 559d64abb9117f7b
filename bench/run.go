package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrMissing: a system is not on this machine.
var ErrMissing = errors.New("bench: not on this machine")

// Options say what is measured, and how often.
type Options struct {
	Questions []Question // nil: Questions()
	Only      []string   // the names of questions; none: all
	Systems   []string   // parts of names of systems, beside the floors; none: all
	Rounds    int        // of each system in each case; 0: 5
	// Child is a command that ends in ChildMain, and, with its last word replaced by EchoWord, in EchoMain. nil: this program with ChildWord.
	Child    []string
	Toolbus  string // the toolbus program, for what only its commands show; "": those lines are missing
	Progress func(question, system string, round, rounds int)
}

// Run measures. The systems of a case take turns, round by round, each time in another order, so that a minute in which the machine is slow is slow for all of
// them. A system that fails gets a line that says so; the others go on. Run ends early with ctx's error. What it has started is gone when it returns.
func Run(ctx context.Context, opts *Options) (*Report, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Questions == nil {
		o.Questions = Questions()
	}
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	if err := known(o.Questions, o.Only); err != nil {
		return nil, err
	}
	report := &Report{Machine: ThisMachine(), Rounds: o.Rounds}
	for _, q := range o.Questions {
		if len(o.Only) > 0 && !slices.Contains(o.Only, q.Name) {
			continue
		}
		answer := Answer{Question: q.Name, Text: q.Text}
		for _, c := range q.Cases {
			result, err := runCase(ctx, q, c, o)
			if err != nil {
				return report, err
			}
			answer.Cases = append(answer.Cases, result)
		}
		report.Answers = append(report.Answers, answer)
	}
	return report, nil
}

func known(questions []Question, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(questions, func(q Question) bool { return q.Name == name }) {
			var all []string
			for _, q := range questions {
				all = append(all, q.Name)
			}
			return fmt.Errorf("bench: no question %q; there are %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

// runCase has a lab of its own: what one case leaves behind is no other's load.
func runCase(ctx context.Context, q Question, c Case, o Options) (CaseResult, error) {
	lab, err := newLab(o.Child, o.Toolbus)
	if err != nil {
		return CaseResult{}, err
	}
	defer lab.Close()
	result := CaseResult{Case: c.Name, Work: c.Work}
	rounds := o.Rounds
	if c.Rounds != 0 {
		rounds = min(rounds, c.Rounds)
	}
	var rows []*running
	for _, s := range c.Systems {
		if !s.Floor && !wanted(s.Name, o.Systems) {
			continue
		}
		row := &running{system: s}
		rows = append(rows, row)
		if o.Progress != nil {
			o.Progress(q.Name+", "+c.Name, s.Name, 0, rounds)
		}
		if row.round, row.err = s.Start(ctx, lab); ctx.Err() != nil {
			return result, ctx.Err()
		}
	}
	for n := range rounds {
		for i := range rows {
			row := rows[(i+n)%len(rows)]
			if row.err != nil {
				continue
			}
			if o.Progress != nil {
				o.Progress(q.Name+", "+c.Name, row.system.Name, n+1, rounds)
			}
			row.err = row.run(ctx, lab)
			if ctx.Err() != nil {
				return result, ctx.Err()
			}
		}
	}
	for _, row := range rows {
		result.Systems = append(result.Systems, row.result())
	}
	result.ratios()
	return result, nil
}

func wanted(name string, parts []string) bool {
	return len(parts) == 0 || slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
}

// running is a system while its case is measured.
type running struct {
	system  System
	round   Round
	err     error
	samples []time.Duration
	perOp   []float64 // nanoseconds, a round each
	cpu     []float64
	values  map[string][]float64
}

func (r *running) run(ctx context.Context, lab *Lab) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	before := lab.cpu()
	m, err := r.round(ctx)
	if err != nil {
		return err
	}
	spent := m.CPU
	if spent == 0 {
		spent = lab.cpu() - before
	}
	r.samples = append(r.samples, m.Samples...)
	if n := float64(m.ops()); n > 0 {
		r.perOp = append(r.perOp, float64(m.elapsed())/n)
		r.cpu = append(r.cpu, float64(spent)/n)
	}
	for k, v := range m.Values {
		if r.values == nil {
			r.values = map[string][]float64{}
		}
		r.values[k] = append(r.values[k], v)
	}
	return nil
}

func (r *running) result() SystemResult {
	out := SystemResult{System: r.system.Name, Floor: r.system.Floor, Rounds: len(r.perOp)}
	switch {
	case errors.Is(r.err, ErrMissing):
		out.Missing = r.err.Error()
		return out
	case r.err != nil:
		out.Failed = r.err.Error()
	}
	out.PerOp = time.Duration(median(r.perOp))
	out.CPUPerOp = time.Duration(median(r.cpu))
	out.Distribution = Distribute(r.samples)
	for k, v := range r.values {
		if out.Values == nil {
			out.Values = map[string]float64{}
		}
		out.Values[k] = median(v)
	}
	return out
}
