package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/bridge"
	"github.com/toolbus/toolbus/servers/gateway"
	"github.com/toolbus/toolbus/servers/wire"
)

// tell prints an error and what to do about it: two lines for people, one JSON line for programs.
func (e *env) tell(err error) {
	c := classify(err)
	f := e.explain(err)
	if s, ok := errors.AsType[*signalError](err); ok && !e.out.machine() {
		_ = s // the user did it, and knows
		return
	}
	if !e.out.machine() {
		fmt.Fprintf(e.stderr, "Error: %s\n", cleanText(f.msg))
		fmt.Fprintf(e.stderr, "Hint:  %s\n", cleanText(f.hint))
		return
	}
	body := map[string]any{"code": c.word, "exit": c.exit, "message": f.msg, "hint": f.hint}
	for k, v := range f.facts {
		body[k] = v
	}
	line, _ := json.Marshal(map[string]any{"apiVersion": apiVersion, "type": "Error", "error": body})
	fmt.Fprintf(e.stderr, "%s\n", line)
}

// hintByError says what to do about an error of the rooms below; the first row that errors.Is matches counts.
var hintByError = []struct {
	err  error
	hint string
}{
	{registry.ErrBadName, "a name is 1 to 8 labels of a-z, 0-9 and hyphens, joined by dots: team-a.weather"},
	{registry.ErrBadPattern, "* is one whole label and > at the end is all below: 'team-a.>' or '*.weather'"},
	{registry.ErrBadSelector, "a selector looks like 'team=core,lang!=go,region in (eu,us),!old'"},
	{registry.ErrNotFound, "toolbus ls shows all names"},
	{bus.ErrAuth, "check --creds, --nkey, --user, --token, or the nats context; `nats account info` tries the same"},
	{kvstore.ErrDenied, "this user lacks permissions for the scope's bucket, $KV.toolbus_<scope>.>, and the JetStream API"},
	{bus.ErrTooOld, "upgrade that nats-server to " + bus.MinServerVersion + " or newer, or start a node with `toolbus up`"},
	{kvstore.ErrTooOld, "upgrade that nats-server to " + bus.MinServerVersion + " or newer, or start a node with `toolbus up`"},
	{kvstore.ErrForeign, "another program made or changed the bucket; choose another --scope, or look with `nats kv info`"},
	{kvstore.ErrUnavailable, "does that NATS have JetStream, and more than half of its servers? `nats server report jetstream` shows it"},
	{registry.ErrNotSynced, "does that NATS have JetStream, and more than half of its servers? `nats server report jetstream` shows it"},
	{bus.ErrNotReady, "start the other nodes with the same --join list and secret; each must reach the others' --cluster address"},
	{bus.ErrAddressInUse, "something listens there already: choose another with --listen or --cluster, or use what runs there"},
	{bus.ErrDirInUse, "another node works in that folder: give this one its own with --dir"},
	{bus.ErrWrongDir, "give this node another folder with --dir; a folder keeps to the kind of node that made it"},
	{bus.ErrElectionTimeout, "give all nodes of a cluster the same --election-timeout"},
	{bus.ErrBadOptions, "see `toolbus up --help`"},
	{bus.ErrDisconnected, "the connection to NATS was lost on the way; try again"},
	{gateway.ErrExposed, "toolbus gateway --listen HOST:PORT --token-file FILE --allow-host NAME; without them it serves this machine only"},
	{gateway.ErrAddress, "something listens there already, or that is no address of this machine: choose another HOST:PORT"},
	{bridge.ErrStart, "run the command by itself to see what it says; an MCP server waits on stdin without a word"},
	{bridge.ErrExited, "run the command by itself to see what it says, or with -v to see more here"},
	{wire.ErrUnknown, "the call may have been carried out; look before you repeat it"},
	{wire.ErrEnded, "its process or its lease ended during the call, which may have been carried out; toolbus whereis NAME says who has it now"},
	{wire.ErrBackend, "the server behind the name ended during the call; the owner's own log says why"},
	{wire.ErrTooLarge, "ask for less at once, or send less"},
	{wire.ErrBusy, "the server has all that it can take; try again"},
	{wire.ErrForeign, "something else answers on mcp.>: a stream that records these subjects must set no_ack"},
}

var hintByClass = map[*class]string{
	classInternal:    "run it again with --debug to see more",
	classUsage:       "see `toolbus help`",
	classAuth:        "check --creds, --nkey, --user, --token, or the nats context",
	classNotFound:    "toolbus ls shows all names",
	classTaken:       "choose another name; toolbus ls shows who has which",
	classTimeout:     "wait longer with --timeout 30s, or see whether the owner lives: toolbus get NAME",
	classUnreachable: "start a node here with `toolbus up`, or name another server with -s URL or --context NAME",
	classNoAnswer:    "toolbus get NAME shows its owner; it may be about to lose its lease",
	classDeclined:    "toolbus get NAME shows the owner; it may be about to end",
	classTool:        "the answer is the server's own; its log may say more",
	classInterrupted: "it was stopped by a signal",
	classTerminated:  "it was stopped by a signal",
}

// explain turns any error into a failure: one message for people, one hint, facts for programs.
func (e *env) explain(err error) *failure {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{msg: plain(err), cause: err}
	}
	c := *f
	if taken, ok := errors.AsType[*registry.NameTakenError](err); ok {
		c.msg = fmt.Sprintf("the name %q is held by %s for %s", taken.Name, taken.Owner.Holder(), e.out.age(taken.Owner.Since))
		c.hint = "choose another name, or stop that one; toolbus get " + taken.Name + " shows more"
		c.facts = map[string]any{
			"name": taken.Name, "owner": taken.Owner.Holder(), "node": taken.Owner.Node, "instance": taken.Owner.Instance,
			"since": taken.Owner.Since.UTC().Format(time.RFC3339), "revision": taken.Owner.Revision,
		}
	}
	if taken, ok := errors.AsType[*registry.NameTakenError](err); ok && taken.Next != nil {
		c.msg = fmt.Sprintf("the name %q is free, but %s stands in line for it", taken.Name, taken.Next.Node)
		c.facts = map[string]any{"name": taken.Name, "node": taken.Next.Node, "instance": taken.Next.Instance}
	}
	if w, ok := errors.AsType[*wire.Error](err); ok && c.facts == nil {
		c.facts = map[string]any{"rpcCode": w.Code}
		if facts := w.Facts(); facts.Executed != "" {
			c.facts["executed"] = facts.Executed
		}
	}
	if errors.Is(err, bridge.ErrStart) && strings.Contains(c.msg, "executable file not found") {
		c.hint = "is it installed? It was looked for in the PATH of this process"
	}
	for _, row := range hintByError {
		if c.hint == "" && errors.Is(err, row.err) {
			c.hint = row.hint
		}
	}
	if c.hint == "" {
		c.hint = hintByClass[classify(err)]
	}
	return &c
}

// plain takes the names of our packages out of an error's text: they are for programmers.
func plain(err error) string {
	text := err.Error()
	for _, p := range []string{"registry: ", "kvstore: ", "bus: ", "bridge: ", "wire: ", "servers: ", "shim: ", "gateway: "} {
		text = strings.ReplaceAll(text, p, "")
	}
	return text
}

// noSuchName is the error for a name that nobody holds: it says what was there.
func (e *env) noSuchName(name string, names []string) error {
	f := fail(classNotFound, "toolbus ls shows all names", "no server named %q on this bus (%s in scope %s, %s)", name, count(len(names), "name"), e.scope, e.url())
	if len(names) == 0 {
		f.hint = "the scope is empty; put a server on it: toolbus run " + name + " -- COMMAND"
	} else if near := nearest(name, names); near != "" {
		f.hint = fmt.Sprintf("did you mean %q?  All names: toolbus ls", near)
		f.with("suggestion", near)
	}
	return f.with("name", name)
}

// nearest finds the candidate that was probably meant, "" if none is near: one that begins or ends with the word, or is few letters away.
func nearest(word string, candidates []string) string {
	best, limit := "", max(1, len(word)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		d := distance(word, c)
		if len(word) >= 3 && (strings.HasPrefix(c, word) || strings.HasSuffix(c, "."+word)) {
			d = min(d, 1)
		}
		if d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance counts the letters to add, remove or change to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
