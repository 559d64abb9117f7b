package bus_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

// writesStop is the most that a leader's death may cost. With NATS' own timing nobody stands for election before 4 s.
const writesStop = 3500 * time.Millisecond

// replicated makes a stream of three replicas and returns its leader's name.
func replicated(t *testing.T, c *bus.Conn, name string) (jetstream.JetStream, string) {
	t.Helper()
	js, err := jetstream.New(c.NATS())
	if err != nil {
		t.Fatal(err)
	}
	ctx := bustest.Context(t)
	s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	leader := ""
	bustest.Eventually(t, "the stream has a leader", func() bool {
		info, err := s.Info(ctx)
		if err != nil || info.Cluster == nil {
			return false
		}
		leader = info.Cluster.Leader
		return leader != ""
	})
	return js, leader
}

// write publishes until it is acknowledged.
func write(t *testing.T, js jetstream.JetStream, subject string) {
	t.Helper()
	bustest.Eventually(t, "a write is acknowledged", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		_, err := js.Publish(ctx, subject, []byte("x"), jetstream.WithRetryAttempts(1))
		return err == nil
	})
}

// TestLeaderKilled kills, with SIGKILL, the process of the node that leads a stream: writes must go on long before NATS' own timing would
// let them.
func TestLeaderKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	nodes := bustest.Nodes(t, 3)
	url := nodes[0].URL + "," + nodes[1].URL + "," + nodes[2].URL
	js, leader := replicated(t, bustest.Dial(t, url, nil), "killed")
	write(t, js, "killed.before")
	for _, n := range nodes {
		if n.Name == leader {
			n.Kill()
		}
	}
	start := time.Now()
	write(t, js, "killed.after")
	if took := time.Since(start); took > writesStop {
		t.Errorf("writes stopped for %s after kill -9 of the leader's node, at most %s wanted", took, writesStop)
	} else {
		t.Logf("writes stopped for %s after kill -9 of the leader's node", took.Round(time.Millisecond))
	}
}

// TestLeaderKilledInProcess does the same with Cluster.Kill: the leader must not get a chance to hand over.
func TestLeaderKilledInProcess(t *testing.T) {
	c := bustest.NewCluster(t, 3)
	conn := bustest.Dial(t, c.URL(), nil)
	js, leader := replicated(t, conn, "cut")
	write(t, js, "cut.before")
	for i, n := range c.Nodes() {
		if n.Name() != leader {
			continue
		}
		if err := c.Kill(i); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		write(t, js, "cut.after")
		took := time.Since(start)
		t.Logf("writes stopped for %s after Kill", took.Round(time.Millisecond))
		if took > writesStop {
			t.Errorf("at most %s wanted", writesStop)
		}
		if err := c.Restart(bustest.Context(t), i); err != nil {
			t.Fatal(err)
		}
	}
	write(t, js, "cut.restarted")
}

// TestElectionTimeoutOfProcess: the first node of a process decides.
func TestElectionTimeoutOfProcess(t *testing.T) {
	n := bustest.Node(t, nil)
	if n.ElectionTimeout() != bus.DefaultElectionTimeout {
		t.Fatalf("election timeout %s, want the default", n.ElectionTimeout())
	}
	_, err := bus.StartNode(t.Context(), &bus.NodeOptions{ElectionTimeout: 3 * time.Second})
	var differ *bus.ElectionError
	if !errors.Is(err, bus.ErrElectionTimeout) || !errors.As(err, &differ) || differ.Theirs != bus.DefaultElectionTimeout || differ.Ours != 3*time.Second {
		t.Fatalf("a second timeout in one process: %v", err)
	}
	for _, d := range []time.Duration{time.Millisecond, -1, time.Hour} {
		if _, err := bus.StartNode(t.Context(), &bus.NodeOptions{ElectionTimeout: d}); !errors.Is(err, bus.ErrBadOptions) {
			t.Errorf("election timeout %s: %v", d, err)
		}
	}
}

// slowNode is a child: it joins a cluster with another timing, and reports what WaitReady says.
func slowNode(ctx context.Context, args []string, out io.Writer) error {
	n, err := bus.StartNode(ctx, &bus.NodeOptions{
		Name: "slow", Dir: args[0], ElectionTimeout: 5 * time.Second,
		Cluster: &bus.ClusterOptions{Listen: args[1], Nodes: args[1:], Secret: "test"},
	})
	if err != nil {
		return err
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(ctx, bustest.Deadline)
	defer cancel()
	err = n.WaitReady(ctx)
	var differ *bus.ElectionError
	if errors.As(err, &differ) {
		_, err = io.WriteString(out, "refused: "+differ.Error()+"\n")
		return err
	}
	_, err = io.WriteString(out, "not refused\n")
	return err
}
