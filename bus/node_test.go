package bus_test

import (
	"fmt"
	"github.com/nats-io/nats.go/jetstream"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

var children = bustest.Children{}

func TestNodeBoots(t *testing.T) {
	start := time.Now()
	n := bustest.Node(t, nil)
	c := bustest.Connect(t, n)
	t.Logf("node booted and connected in %s", time.Since(start))
	if err := n.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, id, k := c.Link()
	t.Log(s, id, k, n.ID())
}

func TestCluster(t *testing.T) {
	start := time.Now()
	c := bustest.Cluster(t, 3)
	t.Logf("cluster in %s", time.Since(start))
	d := bustest.Dial(t, c.URL(), nil)
	t.Log(d.Link())
}

func TestBubble(t *testing.T) {
	start := time.Now()
	bustest.Bubble(t, func(t *testing.T, n *bus.Node) {
		c, err := n.Connect(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Minute)
	})
	t.Log(time.Since(start))
}
func TestProcs(t *testing.T) {
	start := time.Now()
	ns := bustest.Nodes(t, 3)
	t.Log(time.Since(start), ns[0].URL)
}

func TestJS(t *testing.T) {
	c := bustest.Cluster(t, 3)
	d := bustest.Dial(t, c.URL(), nil)
	js, err := jetstream.New(d.NATS())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "x", Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for i := range 100 {
		if _, err := kv.Create(t.Context(), fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(time.Since(start) / 100)
}
