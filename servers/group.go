package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// askPatience is how long AskAll waits where its context has no deadline.
const askPatience = 10 * time.Second

// Group reaches all members of a group at once. Its methods may be called concurrently.
type Group struct {
	caller *wire.Caller
	reg    *registry.Registry
	name   string
}

// NewGroup makes a Group. The registry says who the members are; both must outlive it. The error is that of a bad name.
func NewGroup(caller *wire.Caller, reg *registry.Registry, name string) (*Group, error) {
	name, err := registry.ParseName(name)
	if err != nil {
		return nil, err
	}
	return &Group{caller: caller, reg: reg, name: name}, nil
}

// Publish says a notification (its JSON) to all members that are there: to each one's server, not to its sessions. Nothing confirms it, and a group without members is no error.
func (g *Group) Publish(ctx context.Context, notification json.RawMessage) error {
	return g.caller.PublishAll(ctx, g.name, notification)
}

// Answer is what one member has answered.
type Answer struct {
	Name, Instance string
	// Response is the whole JSON-RPC response.
	Response json.RawMessage
	// Err is the failure that the bus and not the server had to report, an *wire.Error; nil otherwise. A server's own error is in the Response.
	Err error
}

// AskAll asks all members for something (its JSON) and collects their answers, until every member in the view has answered or ctx ends (without a deadline: 10 s).
// silent are the members in the view that have not. Answers of members that the view does not know yet are among the answers. Members that the caller gave up are
// told so. The error is nil when ctx ended in between: silent says it. Errors: wire.ErrNoName if the group has no member, wire.ErrNoResponders if none listens, what is wrong
// with the request.
func (g *Group) AskAll(ctx context.Context, request json.RawMessage) (answers []Answer, silent []registry.Member, err error) {
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, askPatience)
		defer cancel()
		ctx = bounded
	}
	members, err := g.reg.Members(g.name)
	if err != nil {
		return nil, nil, fmt.Errorf("servers: group %s: %w", g.name, err)
	}
	missing := make(map[string]bool, len(members))
	for _, m := range members {
		missing[m.Instance] = true
	}
	poll, err := g.caller.AskAll(ctx, g.name, request)
	if err != nil {
		return nil, members, err
	}
	defer poll.Close()
	for len(missing) > 0 || len(members) == 0 {
		a, nextErr := poll.Next(ctx)
		if nextErr != nil {
			if failure, ok := errors.AsType[*wire.Error](nextErr); ok {
				err = failure
			}
			break
		}
		if a.Last {
			answer := Answer{Name: a.Name, Instance: a.Instance, Response: a.Data}
			if a.Err != nil {
				answer.Err = a.Err
			}
			answers = append(answers, answer)
			delete(missing, a.Instance)
		}
	}
	for _, m := range members {
		if missing[m.Instance] {
			silent = append(silent, m)
		}
	}
	return answers, silent, err
}

// ToolAnswer is what one member's tool has answered. Err is the bus's failure or the server's own error.
type ToolAnswer struct {
	Name, Instance string
	Result         *mcp.CallToolResult
	Err            error
}

// CallAll calls a tool of all members. See AskAll.
func (g *Group) CallAll(ctx context.Context, params *mcp.CallToolParams) (answers []ToolAnswer, silent []registry.Member, err error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
	if err != nil {
		return nil, nil, fmt.Errorf("servers: %w", err)
	}
	m, err := wire.Scan(body)
	if err != nil {
		return nil, nil, err
	}
	raw, silent, err := g.AskAll(ctx, m.WithMeta(ModernVersion))
	for _, a := range raw {
		answer := ToolAnswer{Name: a.Name, Instance: a.Instance, Err: a.Err}
		var r struct {
			Result *mcp.CallToolResult
			Error  *wire.Error
		}
		if answer.Err == nil {
			if answer.Err = json.Unmarshal(a.Response, &r); answer.Err == nil && r.Error != nil {
				answer.Err = r.Error
			}
			answer.Result = r.Result
		}
		answers = append(answers, answer)
	}
	return answers, silent, err
}
