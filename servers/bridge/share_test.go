//go:build unix

package bridge

import (
	"errors"
	"strconv"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// spread calls a name until every process of want has answered, and fails when another one does.
func spread(t testing.TB, session *mcp.ClientSession, want ...*Running) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range want {
		seen[strconv.Itoa(r.Backend().Pid())] = false
	}
	eventually(t, "each of them is called", func() bool {
		got := call(t, session, "pid", nil)
		if _, ok := seen[got]; !ok {
			t.Fatalf("process %s answered, of %v", got, seen)
		}
		seen[got] = true
		for _, yes := range seen {
			if !yes {
				return false
			}
		}
		return true
	})
}

// Who runs the same shares the name: calls are spread, and it stays while one of them lives, however another ends.
func TestShareSpreadsCallsAndFallsOver(t *testing.T) {
	here, there := onBus(t)
	opts := func() *RunOptions {
		o := quick()
		o.ProbeTimeout = patience // on a busy machine it would pass for a legacy one, which is something else
		return &RunOptions{Share: true, Stdio: o, Env: []string{"KEY=1"}}
	}
	a := here.run(t, "many", opts(), "echo")
	eventually(t, "the name is known elsewhere", func() bool { _, err := there.reg.Whereis("many"); return err == nil })
	token := a.Record().Token
	b := there.run(t, "many", opts(), "echo")
	if a.Instance() == b.Instance() || b.Record().Token != token {
		t.Errorf("%+v and %+v", a.Record(), b.Record())
	}
	session := there.dial(t, wire.Target{Name: "many"}, servers.ModernVersion, nil)
	spread(t, session, a, b)
	gone, err := there.reg.Monitor(within(t), "many")
	if err != nil {
		t.Fatal(err)
	}

	// One whose child dies for good, and whom the record names: the other takes its place.
	kill(t, a.Backend())
	<-a.Done()
	eventually(t, "the record names the other", func() bool {
		rec, err := there.reg.Whereis("many")
		return err == nil && rec.Instance == b.Instance() && rec.Token == token
	})
	spread(t, session, b)

	// One whose session ends comes back as a replica; the name is not free meanwhile.
	c := here.run(t, "many", opts(), "echo")
	spread(t, session, b, c)
	there.endSession(t, b.Record().Session)
	eventually(t, "it is a replica again", func() bool {
		replicas, err := here.reg.Replicas("many")
		return err == nil && len(replicas) == 2
	})
	if err := b.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	spread(t, session, c)
	select {
	case d := <-gone:
		t.Errorf("the name was gone: %+v", d)
	default:
	}
	if err := c.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-within(t).Done():
		t.Error("the name stays without anybody")
	}
}

// Who runs something else is told that the name is taken.
func TestShareRefusesAnotherSpecification(t *testing.T) {
	here, there := onBus(t)
	here.run(t, "ours", &RunOptions{Share: true, Stdio: quick(), Env: []string{"KEY=1"}}, "echo")
	eventually(t, "the name is known elsewhere", func() bool { _, err := there.reg.Whereis("ours"); return err == nil })
	for _, test := range []struct {
		what    string
		command []string
		opts    RunOptions
	}{
		{"alone", self(t, "echo"), RunOptions{Env: []string{"KEY=1"}}},
		{"another command", self(t, "hand", "plain"), RunOptions{Share: true, Env: []string{"KEY=1"}}},
		{"other variables", self(t, "echo"), RunOptions{Share: true, Env: []string{"OTHER=1"}}},
	} {
		test.opts.Stdio = quick()
		_, err := Run(within(t), there.conn, there.reg, "ours", test.command, &test.opts)
		if taken, ok := errors.AsType[*registry.NameTakenError](err); !ok || taken.Owner.Node != "here" {
			t.Errorf("%s: %v", test.what, err)
		}
	}
	if specification([]string{"a b"}, nil) == specification([]string{"a", "b"}, nil) ||
		specification([]string{"a"}, []string{"X=1", "Y=2"}) != specification([]string{"a"}, []string{"Y=3", "X=4"}) {
		t.Error("what is one specification, and what is not")
	}
}
