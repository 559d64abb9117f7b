package servers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
)

// Kind is a kind of server, named by the group that its servers are in.
type Kind string

// The kinds that the founding registry knew.
const (
	Tool     Kind = "tools"
	Resource Kind = "resources"
	Prompt   Kind = "prompts"
)

// Start serves server under name as one of a kind: it joins the kind's group whatever it declares. Stop ends it.
func (h *Host) Start(ctx context.Context, kind Kind, name string, server *mcp.Server) (*Serving, error) {
	return h.Serve(ctx, name, server, &ServeOptions{Kind: strings.TrimSuffix(string(kind), "s"), Groups: []string{string(kind)}})
}

// Stop ends the server that this Host serves under name, and gives the name up. It is registry.ErrNotFound if there is none here.
func (h *Host) Stop(ctx context.Context, name string) error {
	name, err := registry.ParseName(name)
	if err != nil {
		return err
	}
	h.mu.Lock()
	s := h.names[name]
	h.mu.Unlock()
	if s == nil {
		return fmt.Errorf("servers: %s is not served here: %w", name, registry.ErrNotFound)
	}
	if !h.spawn(func() { s.end(nil, byName) }) { // it ends whatever becomes of ctx
		return ErrClosed
	}
	select {
	case <-s.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// List returns every server of the scope with its groups, by name, as this process's view has them: Record.Groups is filled in.
func List(reg *registry.Registry) []registry.Record { return reg.List() }

// Tools asks the server called name for its tools, all pages. It opens a session for that and closes it again.
func Tools(ctx context.Context, conn *bus.Conn, reg *registry.Registry, name string) ([]*mcp.Tool, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "toolbus", Version: "1"}, nil)
	session, err := client.Connect(ctx, &Transport{Conn: conn, Registry: reg, Name: name}, nil)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	var tools []*mcp.Tool
	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, err
		}
		tools = append(tools, tool)
	}
	return tools, nil
}

// Entry is one server of a catalog: its tools, or why they could not be had.
type Entry struct {
	registry.Record
	Tools []*mcp.Tool
	Err   error
}

// Catalog asks every member of the group tools for its tools, a few at once. A server that fails never fails the catalog: its Entry has the error.
func Catalog(ctx context.Context, conn *bus.Conn, reg *registry.Registry) []Entry {
	var entries []Entry
	for _, record := range reg.List() {
		if slices.Contains(record.Groups, string(Tool)) {
			entries = append(entries, Entry{Record: record})
		}
	}
	next := make(chan int)
	done := make(chan struct{})
	const workers = 8
	for range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range next {
				entries[i].Tools, entries[i].Err = Tools(ctx, conn, reg, entries[i].Name)
			}
		}()
	}
	for i := range entries {
		next <- i
	}
	close(next)
	for range workers {
		<-done
	}
	return entries
}
