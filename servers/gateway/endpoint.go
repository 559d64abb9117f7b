package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// endpoint is whom a path means: one server, or many behind one endpoint.
type endpoint struct {
	name  string // one server
	group string // the members of a group; with neither, all servers of the scope
}

func (e endpoint) many() bool { return e.name == "" }

func (e endpoint) String() string {
	switch {
	case e.name != "":
		return e.name
	case e.group != "":
		return "group " + e.group
	}
	return "all"
}

var errPath = errors.New("no such path: a server is at /s/NAME/mcp, a group at /g/GROUP/mcp, all that there is at /mcp")

// parsePath finds whom a path means.
func parsePath(path string) (endpoint, error) {
	if path == "/mcp" {
		return endpoint{}, nil
	}
	what, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	name, tail, _ := strings.Cut(rest, "/")
	if what != "s" && what != "g" || tail != "mcp" {
		return endpoint{}, errPath
	}
	name, err := registry.ParseName(name)
	if err != nil {
		return endpoint{}, errors.New("that is no name: " + strings.TrimPrefix(err.Error(), "registry: "))
	}
	if what == "g" {
		return endpoint{group: name}, nil
	}
	return endpoint{name: name}, nil
}

// target is who serves an endpoint to a client that has no session with it yet.
func (g *Gateway) target(ctx context.Context, at endpoint) (wire.Target, error) {
	if at.many() {
		return g.far.many(ctx, at.group)
	}
	return wire.Target{Name: at.name}, nil
}

// manyPrefix begins the names under which gateways host what is many servers.
const manyPrefix = "gateway-"

// manyName is the name of one gateway's endpoint for a group, "" for all. Each has names of its own, so a session with it says which gateway has it.
func manyName(gateway, group string) string {
	if group == "" {
		return manyPrefix + gateway
	}
	return manyPrefix + gateway + "." + group
}

// sessionID is what a client gets for a session's id on the bus.
func sessionID(at endpoint, t wire.Target, id string) string {
	if !at.many() {
		return id
	}
	gateway, _, _ := strings.Cut(strings.TrimPrefix(t.Name, manyPrefix), ".")
	return gateway + "." + id
}

// sessionTarget finds the name and the id on the bus again. Nothing of it is believed: an id that was made up is one that nobody has.
func sessionTarget(at endpoint, id string) (wire.Target, string) {
	if !at.many() {
		return wire.Target{Name: at.name}, id
	}
	gateway, rest, _ := strings.Cut(id, ".")
	return wire.Target{Name: manyName(gateway, at.group)}, rest
}
