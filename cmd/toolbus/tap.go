package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// tapped is one message in JSON.
type tapped struct {
	header
	Seen     time.Time       `json:"seen"`
	Server   string          `json:"server"`
	Instance string          `json:"instance"`
	Client   string          `json:"client"`
	ToServer bool            `json:"toServer"`
	Method   string          `json:"method,omitempty"` // of a response: that of its request, where that was seen
	Size     int             `json:"size"`
	Missed   uint64          `json:"missed,omitempty"`
	Message  json.RawMessage `json:"message,omitempty"` // left out where it is too large
}

func tapCommand(e *env) *cobra.Command {
	var methods []string
	cmd := &cobra.Command{
		Use:   "tap [NAME] [--method METHOD]...",
		Short: "read along: the JSON-RPC of both directions",
		Long: "Tap asks each instance of a name, or of all names, for copies of what it accepts of its clients and what it says to them, and shows them as they come, until it is\n" +
			"stopped. It does not see what never reached an instance or was refused by it (calls to a name that nobody has, say), nor what passed before it\n" +
			"began. Copies that were lost are counted; messages larger than one frame of NATS show by their size alone.",
		Example:           "toolbus tap\ntoolbus tap everything\ntoolbus tap everything --method tools/call -o jsonl | jq .message",
		Args:              rangeArgs(0, 1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			name := ""
			if len(args) == 1 {
				if name, err = registry.ParseName(args[0]); err != nil {
					return err
				}
			}
			return e.tap(cmd.Context(), name, methods)
		},
	}
	cmd.Flags().StringArrayVarP(&methods, "method", "m", nil, "only messages of `METHOD` and the responses to them; may be repeated")
	return cmd
}

const (
	tapLook  = time.Second     // how often it looks for new instances
	tapAgain = 4 * time.Second // how often each is asked: it forgets after ten
)

// tap shows what instances mirror, until ctx ends.
func (e *env) tap(ctx context.Context, name string, methods []string) error {
	if !e.out.tty && !e.out.chosen || e.out.format == formatJSON { // a stream has no end at which a document could be closed
		e.out.format = formatJSONL
	}
	l, err := e.connect(ctx, "cli", "", e.logger(false), nil)
	if err != nil {
		return err
	}
	defer l.close()
	reg, done, err := e.view(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	if _, err := reg.Whereis(name); name != "" && err != nil {
		return e.notFound(ctx, l, name)
	}
	t, err := wire.NewTap(l.conn, e.scope)
	if err != nil {
		return err
	}
	defer t.Close()
	asking, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() { defer close(ended); e.askAlong(asking, reg, t, name) }()
	defer func() { stop(); <-ended }()
	seen := map[string]string{} // the methods of requests, by instance, client, direction and id
	for {
		c, err := t.Read(ctx)
		if err != nil {
			return interrupted(ctx)
		}
		if c.Missed > 0 {
			e.note("! %s of %s were missed", count(int(c.Missed), "copy"), c.Name)
		}
		method, id := methodOf(seen, c)
		if len(methods) > 0 && !slices.Contains(methods, method) {
			continue
		}
		if err := e.printTapped(c, method, id); err != nil {
			return err
		}
	}
}

// askAlong asks every instance again and again.
func (e *env) askAlong(ctx context.Context, reg *registry.Registry, t *wire.Tap, name string) {
	asked := map[string]time.Time{}
	for {
		for _, rec := range reg.List() {
			if name != "" && rec.Name != name {
				continue
			}
			instances := []string{rec.Instance}
			if replicas, err := reg.Replicas(rec.Name); err == nil {
				for _, r := range replicas {
					instances = append(instances, r.Instance)
				}
			}
			slices.Sort(instances)
			for _, instance := range slices.Compact(instances) {
				if time.Since(asked[instance]) < tapAgain {
					continue
				}
				one, cancel := context.WithTimeout(ctx, e.timeout)
				err := t.Ask(one, rec.Name, instance)
				cancel()
				first := asked[instance].IsZero()
				if err == nil || first {
					asked[instance] = time.Now()
				}
				switch {
				case ctx.Err() != nil:
					return
				case err != nil && first:
					e.note("! %s cannot be read along: %s", rec.Name, plain(err))
				case err == nil && first:
					e.note("reading along at %s, instance %s", rec.Name, instance)
				}
			}
		}
		select {
		case <-time.After(tapLook):
		case <-ctx.Done():
			return
		}
	}
}

// methodOf is the method of a message, or of the request that it answers.
func methodOf(seen map[string]string, c wire.Copy) (method, id string) {
	m, err := wire.Scan(slices.Clone(c.Message))
	if err != nil {
		return "", ""
	}
	id = string(m.ID())
	key := func(toServer bool) string { return fmt.Sprint(c.Instance, " ", c.Client, " ", toServer, " ", id) }
	switch {
	case m.Request():
		if len(seen) > 100_000 { // requests that were never answered
			clear(seen)
		}
		seen[key(c.ToServer)] = m.Method
	case m.Response():
		method = seen[key(!c.ToServer)]
		delete(seen, key(!c.ToServer))
		return method, id
	}
	return m.Method, id
}

func (e *env) printTapped(c wire.Copy, method, id string) error {
	now := e.out.now()
	if e.out.format == formatJSONL {
		return e.out.document(tapped{head("Message"), now.UTC(), c.Name, c.Instance, c.Client, c.ToServer, method, c.Size, c.Missed, c.Message})
	}
	arrow := "->"
	if !c.ToServer {
		arrow = "<-"
	}
	text := clean(string(c.Message))
	if c.Message == nil {
		text = fmt.Sprintf("(%d bytes, too large to be copied)", c.Size)
	}
	if e.out.format == formatName {
		return e.out.lines([]string{c.Name + " " + method})
	}
	what := strings.TrimSpace(method + " " + id)
	return e.out.lines([]string{fmt.Sprintf("%s  %s %s %s  %-24s %s", now.Format("15:04:05.000"), c.Client, arrow, c.Name, clean(what), text)})
}
