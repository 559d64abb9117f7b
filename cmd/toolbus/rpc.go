package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// protocolVersion is that of the MCP requests that this program makes itself: stateless ones, which need no initialize.
const protocolVersion = "2026-07-28"

// rpc makes requests to one server, one after the other.
type rpc struct {
	pipe     wire.Pipe
	next     int
	progress func(params json.RawMessage) // told of each progress notification; nil asks for none
}

// dial makes an rpc to a name. It asks nobody: the name is the address.
func (e *env) dial(l *link, name string) (*rpc, error) {
	pipe, err := wire.Dial(l.conn, wire.Target{Name: name}, &wire.CallerOptions{Scope: e.scope, FirstFrame: e.timeout, Logger: e.logger(false)})
	if err != nil {
		return nil, err
	}
	return &rpc{pipe: pipe}, nil
}

func (r *rpc) close() { _ = r.pipe.Close() }

// call makes one request and waits for its answer; what comes beside it (progress, log lines) is skipped. The error of a server, and of the
// wire, is a *wire.Error.
func (r *rpc) call(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	r.next++
	id := strconv.Itoa(r.next)
	meta := map[string]any{
		"io.modelcontextprotocol/protocolVersion":    protocolVersion,
		"io.modelcontextprotocol/clientInfo":         map[string]string{"name": "toolbus", "version": build().Version},
		"io.modelcontextprotocol/clientCapabilities": struct{}{},
	}
	if r.progress != nil {
		meta["progressToken"] = r.next
	}
	params["_meta"] = meta
	msg, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": r.next, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	if err := r.pipe.Write(ctx, msg); err != nil {
		return nil, err
	}
	for {
		raw, err := r.pipe.Read(ctx)
		if err != nil {
			return nil, err
		}
		var answer struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			Result json.RawMessage `json:"result"`
			Error  *wire.Error     `json:"error"`
		}
		if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, fmt.Errorf("an answer that is no JSON-RPC: %w", err)
		}
		switch {
		case answer.Method == "notifications/progress" && r.progress != nil:
			r.progress(answer.Params)
		case answer.Method != "" || string(answer.ID) != id:
		case answer.Error != nil:
			return nil, answer.Error
		default:
			return answer.Result, nil
		}
	}
}

// rpcError makes of an error of call one for people. Only now, when nobody answered, is the registry asked: it tells a name that nobody holds
// from one whose owner is silent.
func (e *env) rpcError(ctx context.Context, l *link, name string, err error) error {
	switch w, isWire := errors.AsType[*wire.Error](err); {
	case errors.Is(err, wire.ErrNoResponders):
		rec, lookup := registry.Lookup(ctx, l.store, name)
		if classify(lookup) == classNotFound {
			return e.notFound(ctx, l, name)
		}
		if lookup != nil {
			return lookup
		}
		f := fail(classNoAnswer, "toolbus wait "+name+" --for gone waits until its lease ends; toolbus get "+name+" shows its owner",
			"nobody answers for %q, which is held by %s for %s", name, rec.Holder(), e.out.age(rec.Since))
		f.cause = err
		return f.with("name", name).with("owner", rec.Holder())
	case errors.Is(err, context.DeadlineExceeded):
		f := fail(classTimeout, "wait longer with --timeout 1m; the call was cancelled, but may have been carried out", "no answer from %q within %s", name, e.timeout)
		f.cause = err
		return f.with("name", name)
	case isWire && classify(err) == classTool:
		f := fail(classTool, "toolbus call "+name+" lists its tools", "%s answered: %s (%d)", name, w.Message, w.Code)
		f.cause = err
		return f.with("name", name).with("rpcCode", w.Code)
	}
	return err
}
