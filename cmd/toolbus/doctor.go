package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// finding is what one check of doctor found.
type finding struct {
	header
	Check  string   `json:"check"`
	State  string   `json:"state"` // ok, warning, failed or skipped
	What   string   `json:"what"`
	Hint   string   `json:"hint,omitempty"`
	Detail []string `json:"detail,omitempty"`
	Fixed  bool     `json:"fixed,omitempty"`
}

// The states of a finding.
const (
	stateWarning = "warning"
	stateFailed  = "failed"
	stateSkipped = "skipped"
)

// patient is what doctor looks at: what earlier checks have learned is there for later ones.
type patient struct {
	e    *env
	link *link
	fix  bool

	info  *kvstore.Info
	snap  *registry.Snapshot
	nodes []nodeInfo
	found []finding
}

func (p *patient) say(check, state, hint, format string, args ...any) *finding {
	p.found = append(p.found, finding{header: head("Finding"), Check: check, State: state, Hint: hint, What: fmt.Sprintf(format, args...)})
	return &p.found[len(p.found)-1]
}

func (p *patient) ok(check, format string, args ...any) { p.say(check, stateOK, "", format, args...) }

// checks is the table: what needs what another has learned comes after it. A check says at least one thing.
var checks = []struct {
	name  string
	needs func(p *patient) bool // nil: nothing
	run   func(p *patient, ctx context.Context)
}{
	{"jetstream", nil, (*patient).checkJetStream},
	{"log", nil, (*patient).checkLog},
	{"replicas", (*patient).hasLog, (*patient).checkReplicas},
	{"clock", (*patient).hasLog, (*patient).checkClock},
	{"records", (*patient).hasLog, (*patient).checkRecords},
	{"orphans", (*patient).hasRecords, (*patient).checkOrphans},
	{"view", (*patient).hasRecords, (*patient).checkView},
	{"nodes", nil, (*patient).checkNodes},
	{"election", nil, (*patient).checkElection},
	{"pulse", (*patient).hasRecords, (*patient).checkPulse},
	{"answers", (*patient).hasRecords, (*patient).checkAnswers},
	{"capture", nil, (*patient).checkCapture},
}

func (p *patient) hasLog() bool     { return p.info != nil && p.info.Exists }
func (p *patient) hasRecords() bool { return p.snap != nil }

func doctorCommand(e *env) *cobra.Command {
	var fix bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "look for what is wrong with the bus and the scope, and say what to do",
		Long: "Looks from the outside, as any client could: at NATS, at the scope's log, its records, its pulse, its nodes and who answers. Exits with 0 when all is well, with 11 " +
			"when something is not. --fix removes what is certain to be left over, each record guarded by the revision that was seen; it never touches what lives.",
		Example: "toolbus doctor\ntoolbus doctor -o json\ntoolbus doctor --fix",
		Args:    exactArgs(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			began := time.Now()
			l, err := e.connect(cmd.Context(), "cli", "", e.logger(false), nil)
			if err != nil {
				return err
			}
			defer l.close()
			p := &patient{e: e, link: l, fix: fix}
			p.ok("nats", "%s, nats-server %s, connected in %s", l.conn.NATS().ConnectedUrlRedacted(), l.conn.NATS().ConnectedServerVersion(), time.Since(began).Round(time.Millisecond))
			for _, c := range checks {
				if c.needs != nil && !c.needs(p) {
					p.say(c.name, stateSkipped, "", "what it needs is not there")
					continue
				}
				ctx, cancel := context.WithTimeout(cmd.Context(), e.timeout)
				c.run(p, ctx)
				cancel()
				if s := interrupted(cmd.Context()); s != nil {
					return s
				}
			}
			return p.tell()
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "remove what is certain to be left over")
	return cmd
}

// tell prints what was found; what is not well is an error.
func (p *patient) tell() error {
	out := listing{kind: "Finding", scope: p.e.scope, head: []string{"CHECK", "STATE", "WHAT"}}
	if p.snap != nil {
		out.at = uint64(p.snap.Revision())
	}
	unwell, failed := 0, 0
	for _, f := range p.found {
		state := f.State
		if f.Fixed {
			state = "fixed"
		} else if f.State == stateWarning || f.State == stateFailed {
			unwell++
			out.names = append(out.names, f.Check)
		}
		if f.State == stateFailed && !f.Fixed {
			failed++
		}
		out.items = append(out.items, f)
		out.rows = append(out.rows, []string{f.Check, p.e.out.state(state), f.What})
		for _, d := range f.Detail {
			out.rows = append(out.rows, []string{"", "", "  " + d})
		}
		if f.Hint != "" && !f.Fixed {
			out.rows = append(out.rows, []string{"", "", "  do: " + f.Hint})
		}
	}
	if err := p.e.out.list(out); err != nil {
		return err
	}
	if unwell == 0 {
		return nil
	}
	return fail(classUnhealthy, "the lines with \"do:\" say what to do about each", "%s of %s found something, %d of them serious",
		count(unwell, "check"), count(len(checks)+1, "check"), failed).with("unwell", unwell).with("failed", failed)
}
