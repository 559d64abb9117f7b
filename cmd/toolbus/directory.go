package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// listed is a registration as this program shows it, for people and in JSON.
type listed struct {
	header
	Scope string `json:"scope"`
	State string `json:"state"`
	registry.Record
}

func (e *env) describe(rec registry.Record, state string) listed {
	rec.Since = rec.Since.UTC()
	return listed{head("Server"), e.scope, state, rec}
}

const (
	// pulseStale is when a pulse, which comes once a second, is taken to have stopped. It compares two machines' clocks, so it is only
	// good for deciding whether to ask the owners.
	pulseStale = 5 * time.Second
	// probeTimeout is how long an owner may take to say that it is there.
	probeTimeout = 500 * time.Millisecond
	// probesAtOnce bounds how many are asked at the same time.
	probesAtOnce = 64
)

// silent finds the sessions that do not answer. Where somebody keeps the scope, only those that its last pulse missed are asked: the others
// have just answered the keeper. Where nobody does, all of them are.
func (e *env) silent(ctx context.Context, l *link, snap *registry.Snapshot) map[string]bool {
	var ask []string
	keeper, ok := snap.Keeper()
	if age := e.out.now().Sub(keeper.At); ok && age < pulseStale && age > -pulseStale {
		ask = keeper.Missing
	} else {
		for _, lease := range snap.Leases() {
			ask = append(ask, lease.Session)
		}
	}
	return e.probe(ctx, l, ask)
}

// probe asks sessions whether they are there, and returns those that do not say so.
func (e *env) probe(ctx context.Context, l *link, sessions []string) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, 4*probeTimeout)
	defer cancel()
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		slots = make(chan struct{}, probesAtOnce)
		out   = map[string]bool{}
	)
	for _, session := range sessions {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			if registry.Probe(one, l.conn, e.scope, session) != nil {
				mu.Lock()
				out[session] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out
}

func stateOf(silent map[string]bool, session string) string {
	if silent[session] {
		return stateSilent
	}
	return stateOK
}

// lookup reads one name and asks its owner whether it is there. A name that nobody holds is an error that says which there are.
func (e *env) lookup(ctx context.Context, l *link, name string) (registry.Record, string, error) {
	rec, err := registry.Lookup(ctx, l.store, name)
	if classify(err) == classNotFound {
		return rec, "", e.notFound(ctx, l, name)
	}
	if err != nil {
		return rec, "", err
	}
	return rec, stateOf(e.probe(ctx, l, []string{rec.Session}), rec.Session), nil
}

// notFound makes the error for a name that is not there.
func (e *env) notFound(ctx context.Context, l *link, name string) error {
	snap, err := registry.Load(ctx, l.store)
	if err != nil {
		return err
	}
	return e.noSuchName(name, snap.Names())
}

// parseLabels reads the labels that a server is given.
func parseLabels(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, l := range list {
		for pair := range strings.SplitSeq(l, ",") {
			k, v, ok := strings.Cut(pair, "=")
			if !ok || k == "" {
				return nil, usage("a label looks like team=core", "not a label: %s", quote(pair))
			}
			out[k] = v
		}
	}
	return out, nil
}

// pairs writes a map for people.
func pairs(m map[string]string) string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// completeNames offers the names of the bus to a shell.
func (e *env) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || e.resolve(cmd.Flags()) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	e.timeout = min(e.timeout, time.Second)
	ctx, l, done, err := e.ask(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer done()
	snap, err := registry.Load(ctx, l.store)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return snap.Names(), cobra.ShellCompDirectiveNoFileComp
}
