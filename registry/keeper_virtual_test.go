package registry_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// Of many candidates one keeps the scope, and puts out one pulse a second.
func TestVirtualOneKeeper(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 20 {
			own(t, w.Start(t, nil), "", fmt.Sprintf("n%d", i))
		}
		time.Sleep(20 * time.Second)
		since := time.Now()
		time.Sleep(time.Minute)
		pulses := w.pulses(t, since)
		for _, b := range pulses {
			if b.Keeper != pulses[0].Keeper || b.Extra || b.sinceLastBeat > 1100*time.Millisecond {
				t.Fatalf("%+v", b)
			}
		}
		if n := len(pulses); n < 59 || n > 61 {
			t.Fatalf("%d pulses in a minute", n)
		}
		if n := len(w.written("")); n > 20*4+100 {
			t.Errorf("%d entries for 20 sessions in 80 s", n)
		}
	})
}

// A node takes the pulse from a keeper that is none, and comes before others when a keeper has died.
func TestVirtualNodesKeepFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.Start(t, nil)
		reg := own(t, p, "", "calc")
		settle()
		if b := w.lastPulse(t); b.Role != registry.Candidate {
			t.Fatalf("kept by a %s", b.Role)
		}
		began := time.Now()
		node := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Node: "n0"})
		time.Sleep(200 * time.Millisecond)
		pulses := w.pulses(t, began)
		if len(pulses) == 0 || pulses[0].Role != registry.Node {
			t.Fatalf("no node has taken it: %+v", pulses)
		}
		t.Logf("a node took it after %v", pulses[0].at.Sub(began))
		for i := range 10 {
			next := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Node: fmt.Sprintf("n%d", i+1)})
			settle()
			began = time.Now()
			node.Kill()
			settle()
			if b := w.lastPulse(t); b.Role != registry.Node {
				t.Fatalf("kept by a %s after a node died", b.Role)
			}
			for _, b := range w.pulses(t, began) {
				if b.Role != registry.Node {
					t.Fatalf("a %s came first", b.Role)
				}
			}
			node = next
		}
		wantAlive(t, time.Second, reg)
	})
}

// A keeper that stops is replaced: after two intervals and a short wait, or at once when its server is lost.
func TestVirtualKeeperReplaced(t *testing.T) {
	for _, tt := range []struct {
		name  string
		role  registry.Role
		end   func(w *world, p *registrytest.Process)
		least time.Duration
		most  time.Duration // from its end
	}{
		{"killed, among nodes", registry.Node, func(_ *world, p *registrytest.Process) { p.Kill() }, time.Second, 2150 * time.Millisecond},
		{"killed, among others", registry.Candidate, func(_ *world, p *registrytest.Process) { p.Kill() }, time.Second, 2550 * time.Millisecond},
		{"frozen, among nodes", registry.Node, func(_ *world, p *registrytest.Process) { p.Freeze() }, time.Second, 2150 * time.Millisecond},
		{"cut off, and nodes hear it", registry.Node, func(_ *world, p *registrytest.Process) { p.KillFor("read error") }, 0, 110 * time.Millisecond},
		{"its server lost, and nodes hear it", registry.Node, func(w *world, p *registrytest.Process) { p.Kill(); w.Hub.LoseServer("s1", "route") }, 0, 110 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var worst time.Duration
			for phase := range 10 {
				inWorld(t, func(t *testing.T, w *world) {
					k := w.Start(t, &registrytest.ProcessOptions{Role: tt.role, Server: "s1"})
					reg := own(t, k, "", "keeper")
					settle()
					var others []*registrytest.Process
					for i := range 3 {
						others = append(others, w.Start(t, &registrytest.ProcessOptions{Role: tt.role, Server: fmt.Sprintf("s%d", i+2)}))
					}
					other := own(t, others[0], "", "other")
					time.Sleep(5*time.Second + time.Duration(phase)*100*time.Millisecond)
					old := w.lastPulse(t)
					if lease := w.lease(t, reg.Session().ID()); len(lease.Value) == 0 || old.Node != "s1" {
						t.Fatalf("kept by %s", old.Node)
					}
					began := time.Now()
					tt.end(w, k)
					time.Sleep(4 * time.Second)
					pulses := w.pulses(t, began.Add(time.Nanosecond))
					if len(pulses) < 2 || pulses[0].Keeper == old.Keeper {
						t.Fatalf("%+v", pulses)
					}
					took := pulses[0].at.Sub(began)
					if worst = max(worst, took); took < tt.least-time.Second || took > tt.most {
						t.Fatalf("taken over after %v, %v at most", took, tt.most)
					}
					first, second := pulses[0], pulses[1]
					for _, b := range pulses[1:] {
						if !b.Extra {
							second = b
							break
						}
					}
					if first.Roll != 0 || second.Roll != 0 || second.at.Sub(first.at) > 310*time.Millisecond || second.at.Sub(first.at) < 250*time.Millisecond {
						t.Fatalf("the second pulse came %v after the first, with rolls %d and %d", second.at.Sub(first.at), first.Roll, second.Roll)
					}
					wantAlive(t, time.Second, other)
				})
			}
			t.Logf("taken over after %v at the worst", worst)
		})
	}
}

// A scope without sessions has no pulse, and the last one goes by itself; the next session has one at once.
func TestVirtualNoSessionsNoPulse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.Start(t, nil)
		w.Start(t, nil)
		time.Sleep(10 * time.Second)
		if n := len(w.written("")); n != 0 {
			t.Fatalf("%d entries in an empty scope", n)
		}
		reg := own(t, p, "", "calc")
		settle()
		if err := reg.Session().Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		closed := time.Now()
		time.Sleep(35 * time.Second)
		if pulses := w.pulses(t, closed.Add(time.Nanosecond)); len(pulses) != 0 {
			t.Fatalf("%d pulses without a session", len(pulses))
		}
		all := w.written("pulse")
		if last := all[len(all)-1]; !last.Tombstone() {
			t.Fatal("the pulse is still there")
		}
		time.Sleep(time.Minute)
		began := time.Now()
		own(t, p, "", "calc")
		time.Sleep(time.Second)
		if pulses := w.pulses(t, began); len(pulses) == 0 {
			t.Fatal("no pulse with a session")
		} else {
			t.Logf("the first pulse after %v", pulses[0].at.Sub(began))
		}
	})
}

// Who may never keep the scope does not, and a scope that nobody keeps works: its owners refresh their leases by themselves.
func TestVirtualNobodyKeeps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.Start(t, &registrytest.ProcessOptions{Role: registry.Never})
		reg := own(t, p, "", "calc")
		wantAlive(t, time.Minute, reg)
		if n := len(w.written("pulse")); n != 0 {
			t.Fatalf("%d pulses", n)
		}
		n := len(w.written("leases."))
		if t.Logf("%d writes of the lease in a minute", n); n < 60/6 || n > 60/2 {
			t.Fatalf("%d writes of the lease", n)
		}
		if _, known := p.Age(); known {
			t.Fatal("an age without a pulse")
		}
	})
}

// A purge by hand leaves no entry. The keeper's whole look at the log finds it.
func TestVirtualPurgeFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.Start(t, nil)
		own(t, p, "", "calc")
		settle()
		w.Log.Purge("names.calc")
		time.Sleep(5*time.Minute + 10*time.Second)
		synctest.Wait()
		if names := p.Names(); len(names) != 0 {
			t.Fatalf("%q after a purge", names)
		}
	})
}
