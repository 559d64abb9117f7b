package servers

import (
	"context"
	"errors"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// TestLostSessionIsReplaced ends a Host's session behind its back. One name is claimed again, one has another owner by then.
func TestLostSessionIsReplaced(t *testing.T) {
	ctx := bustest.Context(t)
	node := bustest.Node(t, nil)
	conn := bustest.Connect(t, node)
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.Open(ctx, store, &registry.Options{Peers: conn})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close(context.Background())
	host := NewHost(conn, reg, nil)
	defer host.Close()
	var servings [2]*Serving
	for i, name := range []string{"kept", "lost"} {
		server := mcp.NewServer(&mcp.Implementation{Name: name}, nil)
		server.AddPrompt(&mcp.Prompt{Name: "p"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{}, nil
		})
		if servings[i], err = host.Serve(ctx, name, server, nil); err != nil {
			t.Fatal(err)
		}
	}
	kept, lost := servings[0], servings[1]
	before := kept.Record()
	lost.taking.Lock() // it cannot claim again before another has
	lease, err := store.Get(ctx, "leases."+before.Session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Delete(ctx, lease.Key, nil, lease.Revision); err != nil {
		t.Fatal(err)
	}
	thief, err := reg.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Eventually(t, "the name is free", func() bool { _, err := reg.Whereis("lost"); return err != nil })
	if _, err := thief.Register(ctx, "lost", nil); err != nil {
		t.Fatal(err)
	}
	if lost.Serving() {
		t.Error("it serves without a session")
	}
	lost.taking.Unlock()

	<-lost.Done()
	taken, ok := errors.AsType[*registry.NameTakenError](lost.Err())
	if !ok || taken.Owner.Session != thief.ID() {
		t.Errorf("the name was lost because of %v", lost.Err())
	}
	bustest.Eventually(t, "the other name is served again", kept.Serving)
	after := kept.Record()
	if after.Instance != before.Instance || after.Instance != kept.Instance() || after.Session == before.Session || after.Token <= before.Token {
		t.Errorf("before %+v, after %+v", before, after)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil)
	session, err := client.Connect(ctx, &Transport{Conn: conn, Registry: reg, Name: "kept"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "p"}); err != nil {
		t.Error(err)
	}
}
