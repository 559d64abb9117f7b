package wire

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	busyTries = 5                     // members that are asked where the answer is busy or not valid
	diedTries = 2                     // where the first has ended, and the request may be repeated
	busyFirst = 20 * time.Millisecond // before the second, at random up to twice that; each wait is twice the one before

	defaultSilence = 5 * time.Minute
	defaultLongest = time.Hour
	maxLearned     = 10000 // tools of one target, and targets
)

// retry sends a request without a session to another member, where that is safe: nobody has carried it out, or it may be carried out twice. c is taken out already.
func (p *client) retry(c *pending, err *Error) bool {
	if c.raw == nil || c.session || p.target.Instance != "" {
		return false
	}
	wait := time.Duration(0)
	switch facts := err.Facts(); {
	case (err.Code == CodeBusy || err.Code == CodeNotValid) && facts.Executed == "no" && c.attempt+1 < busyTries:
		wait = busyFirst << c.attempt
		wait += rand.N(wait)
	case (err.Code == CodeEnded || err.Code == CodeUnknown || err.Code == CodeBackend) && c.attempt+1 < diedTries && c.limit == 0 && p.repeatable(c):
	default:
		return false
	}
	again := &pending{id: c.id, key: c.key, method: c.method, subject: c.subject, opens: c.opens, raw: c.raw, target: c.target, attempt: c.attempt + 1}
	p.mu.Lock()
	if p.over || p.ids[c.key] != nil {
		p.mu.Unlock()
		return false
	}
	p.next++
	again.number = strconv.FormatUint(p.next, 10)
	again.in.to = p.reply(again.number)
	p.calls[again.number], p.ids[again.key] = again, again
	p.mu.Unlock()
	p.caller.log.Info("a request goes to another member", "to", p.target.String(), "method", c.method, "why", err.Message, "attempt", again.attempt)
	p.caller.spawn(func() { p.resend(again, wait) }) // a closing Caller answers it
	return true
}

func (p *client) resend(c *pending, wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-p.caller.ctx.Done():
		return // its Close has answered
	}
	send := func(ctx context.Context) error {
		return p.publish(ctx, c.subject, c.in.to, frameRequest, c.raw, false, c, p.headers(c)...)
	}
	p.mu.Lock()
	open := p.calls[c.number] == c && c.cancel == nil
	if open && p.caller.opts.Held != nil {
		c.again = send
	}
	if !open && p.calls[c.number] == c {
		p.take(c) // cancelled meanwhile: nobody hears of it
	}
	p.mu.Unlock()
	if open {
		p.sent(c, send(p.caller.ctx))
	}
}

// headers are those of a request.
func (p *client) headers(c *pending) []string {
	var headers []string
	switch {
	case c.opens != nil && p.detached:
		headers = []string{HeaderIdle, strconv.Itoa(int(p.caller.idle / time.Second))}
	case c.opens != nil:
		headers = []string{HeaderDownlink, p.reply("d")}
	}
	if p.target.Token != "" {
		headers = append(headers, HeaderToken, p.target.Token)
	}
	return headers
}

// repeatable tells whether a request may be carried out twice.
func (p *client) repeatable(c *pending) bool {
	switch c.method {
	case "ping", "server/discover", "resources/read", "prompts/get", "completion/complete":
		return true
	case methodCallTool:
		if p.caller.opts.Repeatable != nil {
			return p.caller.opts.Repeatable(p.target, c.target)
		}
		p.caller.mu.Lock()
		defer p.caller.mu.Unlock()
		return p.caller.tools[p.target.key()][c.target]
	}
	return strings.HasSuffix(c.method, "/list")
}

func (t Target) key() string { return t.Group + " " + t.Name }

// learn notes which tools may be called again. A group's members may differ in a tool: then it may not.
func (c *Caller) learn(t Target, response []byte) {
	var r struct {
		Result struct {
			Tools []struct {
				Name        string
				Annotations struct{ ReadOnlyHint, IdempotentHint bool }
			}
		}
	}
	if json.Unmarshal(response, &r) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	tools := c.tools[t.key()]
	if tools == nil {
		if len(c.tools) >= maxLearned {
			clear(c.tools)
		}
		tools = map[string]bool{}
		c.tools[t.key()] = tools
	}
	for _, tool := range r.Result.Tools {
		was, known := tools[tool.Name]
		safe := tool.Annotations.ReadOnlyHint || tool.Annotations.IdempotentHint
		if known && t.Group != "" {
			safe = safe && was
		}
		if known || len(tools) < maxLearned {
			tools[tool.Name] = safe
		}
	}
}

// struck returns the limit that a call has reached, 0 if it has reached none.
func (c *Caller) struck(method string, waited, silent time.Duration) time.Duration {
	if c.opts.Limit != nil {
		if most := c.opts.Limit(method); most > 0 && waited > most {
			return most
		}
	}
	if method != methodCallTool {
		return 0
	}
	quiet, longest := c.opts.Silence, c.opts.Longest
	if quiet == 0 {
		quiet = defaultSilence
	}
	if longest == 0 {
		longest = defaultLongest
	}
	switch {
	case quiet > 0 && silent > quiet:
		return quiet
	case longest > 0 && waited > longest:
		return longest
	}
	return 0
}

// giveUp ends a call that takes too long, and tells the server.
func (p *client) giveUp(c *pending, err *Error) {
	raw, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": methodCancelled,
		"params": map[string]any{"requestId": c.id, "reason": err.Facts().Why}})
	if c.opens == nil && c.told == nil && c.listens == nil && c.owner != nil {
		p.mu.Lock()
		inSession := c.session
		reply := p.reply("x")
		var subject Subject
		if inSession {
			subject = p.inSession(methodCancelled, "")
		}
		p.mu.Unlock()
		p.caller.work.Go(func() { // this runs in work itself, and may not wait
			if !inSession {
				p.sendCancel(c, raw)
				return
			}
			p.out.Lock()
			defer p.out.Unlock()
			_ = p.publish(p.caller.ctx, subject, reply, frameNotification, raw, true, nil) // nothing is promised for a cancellation
		})
	}
	p.finish(c, err)
}
