package servers_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// Who has a registry may call a name as soon as he sees it: that its server does not listen yet is no error for him.
func TestNameMayBeCalledAsSoonAsItIsSeen(t *testing.T) {
	node := bustest.Node(t, nil)
	here, there := newProcess(t, node), newProcess(t, node)
	h := here.host(t)
	ctx, cancel := context.WithCancel(bustest.Context(t))
	defer cancel()
	synced, called := make(chan struct{}), make(chan error)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ev, err := range there.reg.Watch(ctx, nil) {
			switch {
			case err != nil:
				return
			case ev.Kind == registry.Synced:
				close(synced)
			case ev.Kind == registry.Registered:
				to := &servers.Transport{Conn: there.conn, Registry: there.reg, Name: ev.Record.Name}
				session, err := client(nil).Connect(ctx, to, &mcp.ClientSessionOptions{ProtocolVersion: modern})
				if err == nil {
					session.Close()
				}
				called <- err
			}
		}
	}()
	<-synced
	for i := range 30 {
		name := fmt.Sprintf("comer-%d", i)
		if _, err := h.Serve(t.Context(), name, calculator(name), nil); err != nil {
			t.Fatal(err)
		}
		if err := <-called; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancel()
	<-watched
}
