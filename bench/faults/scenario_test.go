//go:build linux

package faults_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bench/faults"
)

// scenario starts a world for one of the tests below, which run where TOOLBUS_FAULTS_CI or their own variable is set, and lets its clients work for a while.
func scenario(t *testing.T, workload faults.Workload) (context.Context, *faults.World) {
	t.Helper()
	if os.Getenv("TOOLBUS_FAULTS_CI") == "" && os.Getenv("TOOLBUS_FAULTS") == "" {
		t.Skip("TOOLBUS_FAULTS_CI=1 runs this; TOOLBUS_FAULTS=N repeats what it kills N times")
	}
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	t.Cleanup(cancel)
	w, err := faults.StartWorld(ctx, faults.WorldConfig{
		Dir: t.TempDir(), Seed: 1, Nodes: 3, Clients: 4, TTL: 4 * time.Second, Pulse: 500 * time.Millisecond, Workload: workload, Log: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if err := w.Order(ctx, "go"); err != nil {
		t.Fatal(err)
	}
	wait(ctx, 3*time.Second)
	return ctx, w
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// rounds is how often a thing is done: once in CI.
func rounds() int {
	n, err := strconv.Atoi(os.Getenv("TOOLBUS_FAULTS"))
	if err != nil {
		return 1
	}
	return n
}

// finish lets all come to rest and checks the whole record.
func finish(ctx context.Context, t *testing.T, w *faults.World, spans []faults.Span) *faults.History {
	t.Helper()
	healed := faults.Now()
	if err := w.Order(ctx, "quiet"); err != nil {
		t.Fatal(err)
	}
	states, found := w.Converge(ctx, healed)
	if err := w.Stop(ctx); err != nil {
		t.Error(err)
	}
	h, err := w.History(spans, states)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(found, faults.Check(h, nil)...) {
		t.Error(f)
	}
	return h
}

// The leader of the log is killed under load: nothing is lost and nothing there twice, no process stops reading, and claims go on soon.
func TestLeaderKilled(t *testing.T) {
	ctx, w := scenario(t, faults.DefaultWorkload())
	var spans []faults.Span
	for range rounds() {
		leader, _, err := w.Leader(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range w.Nodes {
			if w.Node(i).Name != leader {
				continue
			}
			s := faults.Span{Kind: faults.KillNode, Target: leader, From: faults.Now()}
			w.Kill(w.Node(i))
			wait(ctx, 4*time.Second)
			if err := w.StartNode(ctx, i); err != nil {
				t.Fatal(err)
			}
			s.To = faults.Now()
			spans = append(spans, s)
		}
		wait(ctx, 2*time.Second)
	}
	if len(spans) == 0 {
		t.Fatal("no leader was killed")
	}
	h := finish(ctx, t, w, spans)
	resumed, stalled := h.After(spans)
	t.Logf("%d leaders killed: a claim that began after the kill was acknowledged %v (p50), %v (p95) after it; the longest time without a read of one process was %v",
		len(spans), faults.Quantile(resumed, 0.5), faults.Quantile(resumed, 0.95), stalled)
	if p := faults.Quantile(resumed, 0.95); p > 10*time.Second || len(resumed) == 0 {
		t.Errorf("claims went on after %v at the 95th percentile; %d clients", p, len(resumed))
	}
	if stalled > 5*time.Second {
		t.Errorf("a process read nothing for %v", stalled)
	}
}

// All nodes are stopped in good order and started again, one after the other: no name of a living process changes its owner.
func TestRolling(t *testing.T) {
	ctx, w := scenario(t, faults.DefaultWorkload())
	if err := w.Order(ctx, "quiet"); err != nil {
		t.Fatal(err)
	}
	before, found := w.Converge(ctx, faults.Now())
	began := faults.Now()
	for i := range w.Nodes {
		if err := w.Roll(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	spans := []faults.Span{{Kind: faults.Rolling, Target: "all", From: began, To: faults.Now()}}
	t.Logf("three nodes rolled in %v", time.Duration(faults.Now()-began).Round(time.Millisecond))
	after, more := w.Converge(ctx, faults.Now())
	for _, f := range append(found, more...) {
		t.Error(f)
	}
	held := 0
	for who, s := range before {
		for k, v := range s.Holds {
			held++
			if now := after[who].Holds[k]; now != v {
				t.Errorf("%s held %s with %d, and now with %d", who, k, v.Token, now.Token)
			}
		}
	}
	if held == 0 {
		t.Error("nobody held anything")
	}
	finish(ctx, t, w, spans)
}

// The smaller side of a partition refuses claims in time, says how old its reads are, and its owners stop serving; afterwards the other side has lost nothing, and all agree.
func TestMinority(t *testing.T) {
	ctx, w := scenario(t, faults.DefaultWorkload())
	if err := w.Order(ctx, "quiet"); err != nil {
		t.Fatal(err)
	}
	before, _ := w.Converge(ctx, faults.Now())
	cut, least := 0, -1 // the client with the most names is to be seen to stop serving
	for i := range w.Clients {
		if n := len(before[w.Client(i).Name].Holds); n > least {
			cut, least = i, n
		}
	}
	alone := w.Client(cut).Name
	if least < 1 {
		t.Fatal("nobody holds anything")
	}
	s := faults.Span{Kind: faults.Side, Target: "n1 and " + alone, From: faults.Now()}
	small := map[string]bool{"n1": true, alone: true}
	for _, a := range []string{"n1", "n2", "n3", "c1", "c2", "c3", "c4"} {
		for _, b := range []string{"n1", "n2", "n3", "c1", "c2", "c3", "c4"} {
			if small[a] != small[b] {
				w.Net.Cut(a, b)
			}
		}
	}
	var p faults.Probe
	deadline := time.Now().Add(30 * time.Second)
	for {
		if err := w.Client(cut).Ask(ctx, "probe", &p); err != nil {
			t.Fatal(err)
		}
		if p.Took > faults.ProbeTime+5*time.Second {
			t.Errorf("a claim took %v; its deadline was %v", p.Took, faults.ProbeTime)
		}
		if p.Err == "" && faults.Now()-s.From > int64(5*time.Second) {
			t.Error("the smaller side took a claim")
		}
		if p.Err != "" && p.Serving == 0 && p.Known && p.Age > 2*time.Second {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("30 s after the partition the smaller side says %+v", p)
		}
	}
	t.Logf("cut off for %v: %+v", time.Duration(faults.Now()-s.From).Round(time.Millisecond), p)
	w.Net.Heal()
	s.To = faults.Now()
	after, found := w.Converge(ctx, s.To)
	t.Logf("all agree %v after healing", time.Duration(faults.Now()-s.To).Round(time.Millisecond))
	for _, f := range found {
		t.Error(f)
	}
	for who, s := range before {
		for k, v := range s.Holds {
			if who == alone {
				break
			}
			if now := after[who].Holds[k]; now != v {
				t.Errorf("%s held %s with %d, and now with %d", who, k, v.Token, now.Token)
			}
		}
	}
	finish(ctx, t, w, []faults.Span{s})
}
