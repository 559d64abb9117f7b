package bustest_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

func TestMain(m *testing.M) {
	bustest.Main(m, bustest.Children{
		"echo": func(_ context.Context, args []string, out io.Writer) error {
			fmt.Fprintln(out, args)
			for line := range bustest.Input() {
				if line == "fail" {
					return fmt.Errorf("as asked")
				}
				if line == "end" {
					return nil
				}
				fmt.Fprintln(out, line)
			}
			return nil
		},
	})
}

// TestBubble: a real JetStream lives in virtual time. It fails loudly when an upgrade of nats-server breaks that.
func TestBubble(t *testing.T) {
	real := time.Now()
	bustest.Bubble(t, func(t *testing.T, n *bus.Node) {
		c, err := n.Connect(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		js, err := jetstream.New(c.NATS())
		if err != nil {
			t.Fatal(err)
		}
		kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", LimitMarkerTTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := kv.Create(t.Context(), "lease", nil, jetstream.KeyTTL(15*time.Minute)); err != nil {
			t.Fatal(err)
		}
		w, err := kv.Watch(t.Context(), "lease", jetstream.UpdatesOnly())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		e := <-w.Updates()
		if e.Operation() != jetstream.KeyValuePurge {
			t.Errorf("operation %v", e.Operation())
		}
		if took := time.Since(start); took < 15*time.Minute || took > 15*time.Minute+time.Second {
			t.Errorf("a key of 15 minutes lived for %s", took)
		}
	})
	if took := time.Since(real); took > bustest.Deadline/2 {
		t.Errorf("15 virtual minutes took %s", took)
	} else {
		t.Logf("15 virtual minutes took %s", took.Round(time.Millisecond))
	}
}

func TestChild(t *testing.T) {
	p := bustest.Child(t, "echo", "a b", `"c"`)
	if line := p.Line(); line != `[a b "c"]` {
		t.Errorf("arguments %s", line)
	}
	p.Send("hello")
	if line := p.Line(); line != "hello" {
		t.Errorf("got %q", line)
	}
	p.Send("end")
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	q := bustest.Child(t, "echo")
	q.Send("fail")
	if code := q.Wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	r := bustest.Child(t, "echo")
	r.Line()
	r.Kill()
	r.Kill()
	if code := r.Wait(); code != -1 {
		t.Errorf("exit code %d of a killed process", code)
	}
}

func TestSharedCluster(t *testing.T) {
	c := bustest.Cluster(t, 3)
	if d := bustest.Cluster(t, 3); d != c {
		t.Error("not shared")
	}
	if d := bustest.Dial(t, c.URL(), nil); d.NATS().ConnectedServerId() == "" {
		t.Error("not connected")
	}
}
