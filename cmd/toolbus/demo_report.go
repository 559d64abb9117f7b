package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// demoStep is one claim of the demo, checked.
type demoStep struct {
	Claim   string  `json:"claim"`
	Holds   bool    `json:"holds"`
	Took    float64 `json:"milliseconds"`
	Details string  `json:"details,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// demoReport is the JSON of `demo`.
type demoReport struct {
	header
	Holds   bool       `json:"holds"`
	Seconds float64    `json:"seconds"`
	Steps   []demoStep `json:"steps"`
	Nodes   []string   `json:"nodes,omitempty"` // URLs of those that are left with --keep
}

const claimWidth = 58 // columns of a claim, before its time

// step runs one claim: check measures and says what it saw; an error means that the claim does not hold.
func (d *demo) step(ctx context.Context, claim string, check func(context.Context) (time.Duration, string, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, stepTimeout, fmt.Errorf("not within %s", stepTimeout))
	defer cancel()
	took, details, err := check(bounded)
	if ctx.Err() != nil {
		return ctx.Err() // interrupted: nothing is claimed
	}
	s := demoStep{Claim: claim, Holds: err == nil, Took: float64(took.Nanoseconds()) / 1e6, Details: details}
	if err != nil {
		s.Error = plain(err)
	}
	d.report.Steps = append(d.report.Steps, s)
	if d.e.out.machine() {
		return d.failed(s, err)
	}
	mark := d.paint("✓", "32")
	if err != nil {
		mark, details = d.paint("✗", "31"), plain(err)
	}
	gap := strings.Repeat(" ", max(1, claimWidth-utf8.RuneCountInString(claim)))
	lines := []string{fmt.Sprintf("  %s %s%s%9s", mark, claim, gap, precise(took))}
	if details != "" {
		lines = append(lines, d.e.out.dim("      "+clean(details)))
	}
	if werr := d.e.out.lines(lines); werr != nil {
		return werr
	}
	return d.failed(s, err)
}

func (d *demo) failed(s demoStep, err error) error {
	if err == nil {
		return nil
	}
	f := fail(classInternal, "run it again with --debug, and please report it", "a claim of the demo does not hold: %s: %s", s.Claim, plain(err))
	f.cause = err
	return f.with("claim", s.Claim)
}

func (d *demo) paint(s, code string) string {
	if !d.e.out.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// precise writes a measured time with three figures.
func precise(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d.Nanoseconds())/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d.Microseconds())/1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// around prints how to look at the bus with the nats CLI and with this one. url is "" where the bus is gone by then.
func (d *demo) around(url, name string) error {
	s, scope := "", d.e.scope
	lines := []string{"The bus of this demo is gone now. `toolbus up` starts one that stays, `toolbus demo --keep` leaves this one up. Look around in it", "with the stock nats CLI:"}
	if url != "" {
		s = " -s " + url
		lines = []string{"The bus stays up until Ctrl-C. Look around in it with the stock nats CLI:"}
	}
	lines = append(lines,
		"  nats"+s+" kv ls toolbus_"+scope,
		"  nats"+s+" kv get toolbus_"+scope+" names."+name+" --raw",
		"  nats"+s+" kv get toolbus_"+scope+" pulse --raw",
		"  nats"+s+" micro ls",
		"  nats"+s+" req 'mcp.v1."+scope+".rq.tools/list._."+name+`' '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'`,
		"and with this one:",
		"  toolbus"+s+" ls",
		"  toolbus"+s+" watch",
		"  toolbus"+s+" call "+name+" add a=5 b=3",
	)
	return d.e.out.lines(lines)
}
