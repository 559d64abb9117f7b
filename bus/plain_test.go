package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

// TestPlainServer: everything but the events works on a NATS that is not ours.
func TestPlainServer(t *testing.T) {
	srv := bustest.Plain(t)
	a, b := bustest.Dial(t, srv.ClientURL(), nil), bustest.Dial(t, srv.ClientURL(), nil)
	if a.SystemAccount() || a.Node() != nil {
		t.Error("a plain server has events")
	}
	stop := a.NotifyLost(func(string, string, string) { t.Error("told of a loss") })
	defer stop()
	if server, client, n := a.Link(); server != srv.ID() || client == "" || n != 1 {
		t.Errorf("Link() = %q, %q, %d", server, client, n)
	}
	if _, err := a.Handle("h", "q", func(_ context.Context, m *bus.Message) { m.Respond([]byte("ok")) }, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if data, err := b.Request(t.Context(), "h", nil); err != nil || string(data) != "ok" {
		t.Errorf("Request: %q, %v", data, err)
	}
	if _, err := b.Request(t.Context(), "nobody", nil); !errors.Is(err, bus.ErrNoResponders) {
		t.Errorf("Request to nobody: %v", err)
	}
	js, err := jetstream.New(a.NATS())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(t.Context()); err != nil {
		t.Errorf("JetStream: %v", err)
	}
}

// TestAnnounce: one service, as `nats micro ls` asks for it, and gone after stop.
func TestAnnounce(t *testing.T) {
	n := bustest.Node(t, &bus.NodeOptions{Name: "alpha"})
	c := bustest.Connect(t, n)
	stop, err := c.Announce(t.Context(), bus.ServiceInfo{Version: "v1.2.3", Description: "d", Metadata: map[string]string{"node": "alpha"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := bustest.Connect(t, n).Request(t.Context(), "$SRV.INFO", nil)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(raw, &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != "toolbus" || info.Version != "1.2.3" || info.Metadata["node"] != "alpha" || len(info.Endpoints) != 0 {
		t.Errorf("announced %+v", info)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := c.Request(t.Context(), "$SRV.INFO", nil); !errors.Is(err, bus.ErrNoResponders) {
		t.Errorf("after stop: %v", err)
	}
	// The service must not have taken our own handlers of the connection with it.
	next := links(t, c)
	next(true)
	n.Close()
	next(false)
}
