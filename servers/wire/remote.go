package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DefaultIdle is how long a detached session lives while nobody has anything with it.
const DefaultIdle = 30 * time.Minute

// Remote is a legacy session that belongs to no client: any process that knows its name and id may take part in it. It lives at its instance, and ends with Close,
// with the instance, or when it was idle too long. Its methods may be called concurrently.
type Remote struct {
	caller   *Caller
	name     string
	instance string
	session  string
}

// Request sends one request without a session to any instance of the target, and returns when it is on its way. Errors: the message is no
// request, too large, or names a bad target. All that becomes of it comes in the Stream.
func (c *Caller) Request(ctx context.Context, t Target, msg json.RawMessage) (*Stream, error) {
	p, err := c.dial(t, nil)
	if err != nil {
		return nil, err
	}
	return p.once(ctx, msg)
}

// once sends the one request of a client.
func (p *client) once(ctx context.Context, msg json.RawMessage) (*Stream, error) {
	if m, err := Scan(msg); err == nil && !m.Request() {
		_ = p.Close() // nothing was said
		return nil, &Error{Code: -32600, Message: "not a request"}
	}
	if err := p.Write(ctx, msg); err != nil {
		_ = p.Close()
		return nil, err
	}
	return &Stream{p: p}, nil
}

// Open opens a detached session with an instance of the target. initialize is the client's own message. The response is the server's; where that is an error,
// or has opened no session, the Remote is nil. Errors: what the wire has to say (an *Error), or ctx's; then there is no session, or it ends by itself.
func (c *Caller) Open(ctx context.Context, t Target, initialize json.RawMessage) (json.RawMessage, *Remote, error) {
	if m, err := Scan(initialize); err != nil || m.Method != methodInitialize || !m.Request() {
		return nil, nil, &Error{Code: -32600, Message: "not an initialize"}
	}
	p, err := c.dial(t, func(p *client) { p.detached = true })
	if err != nil {
		return nil, nil, err
	}
	s, err := p.once(ctx, initialize)
	if err != nil {
		return nil, nil, err
	}
	for {
		e, err := s.p.queue.get(ctx)
		switch {
		case err != nil:
			p.mu.Lock()
			p.leaving = true // the answer may come yet
			late := p.session != ""
			p.mu.Unlock()
			if late {
				p.dismiss()
			}
			return nil, nil, err
		case e.failure:
			_ = p.Close()
			return nil, nil, errorOf(e.raw)
		case !e.last:
			continue
		}
		p.mu.Lock()
		r := &Remote{caller: c, name: p.pin.Name, instance: p.pin.Instance, session: p.session}
		p.mu.Unlock()
		_ = p.Close()
		if r.session == "" {
			return e.raw, nil, nil
		}
		return e.raw, r, nil
	}
}

// Remote reaches a session that any process has opened, by the name that it is with and its id. It asks nobody: a session that has ended shows with the first
// message. The error, ErrNoSession, says that the id can be none.
func (c *Caller) Remote(name, id string) (*Remote, error) {
	instance, session, ok := strings.Cut(id, ".")
	if !ok || !validID(instance) || !validID(session) || !ValidName(name) {
		return nil, fail(CodeNoSession, "no such session", Facts{Name: name, Why: "an id of another form"})
	}
	return &Remote{caller: c, name: name, instance: instance, session: session}, nil
}

// ID is "<instance>.<session>". Who has it and the name, is the session: keep it secret.
func (r *Remote) ID() string { return r.instance + "." + r.session }

// Name is the name that the session is with; one opened by a group is with the name of the member that took it.
func (r *Remote) Name() string { return r.name }

// Instance is the instance that has the session.
func (r *Remote) Instance() string { return r.instance }

func (r *Remote) client() (*client, error) {
	return r.caller.dial(Target{Name: r.name, Instance: r.instance}, func(p *client) {
		p.detached, p.session = true, r.session
		p.pin = Owner{Name: r.name, Instance: r.instance}
	})
}

// Request sends one request in the session. Errors: as Caller.Request. A session that has ended is the ErrNoSession of the response's Event.
func (r *Remote) Request(ctx context.Context, msg json.RawMessage) (*Stream, error) {
	p, err := r.client()
	if err != nil {
		return nil, err
	}
	return p.once(ctx, msg)
}

// Send says a notification or an answer in the session, and returns when the instance has taken it. Errors: ErrNoSession, ErrUnknown where it is not known
// whether it was taken, what the wire has against the message, ctx's.
func (r *Remote) Send(ctx context.Context, msg json.RawMessage) error {
	m, err := Scan(msg)
	if err == nil {
		err = m.check()
	}
	if err == nil && m.Request() {
		err = errors.New("wire: a request is not sent, it is requested")
	}
	if err != nil {
		return &Error{Code: -32700, Message: strings.TrimPrefix(err.Error(), "wire: ")}
	}
	target, err := m.Target()
	if err != nil {
		return fail(CodeRefused, strings.TrimPrefix(err.Error(), "wire: "), Facts{Name: r.name})
	}
	if len(msg) > r.caller.limit {
		return fail(CodeTooLarge, fmt.Sprintf("a message of %d bytes, at most %d", len(msg), r.caller.limit), Facts{Name: r.name})
	}
	kind := frameNotification
	if m.Response() {
		kind = frameResponse
	}
	return r.told(ctx, kind, m.Method, target, msg)
}

// Close ends the session. Errors: ErrNoSession if it had ended, ErrUnknown, ctx's.
func (r *Remote) Close(ctx context.Context) error { return r.told(ctx, frameBye, "", "", nil) }

// told sends one frame and waits until the instance says that it has it.
func (r *Remote) told(ctx context.Context, kind, method, target string, body []byte) error {
	p, err := r.client()
	if err != nil {
		return err
	}
	defer p.Close()
	c := &pending{session: true, told: make(chan *Error, 1), method: method}
	if err := p.ask(ctx, c, kind, method, target, body); err != nil {
		return err
	}
	select {
	case err := <-c.told:
		if err != nil {
			return err
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask sends a frame of the session to which something comes back.
func (p *client) ask(ctx context.Context, c *pending, kind, method, target string, body []byte, headers ...string) error {
	p.out.Lock()
	defer p.out.Unlock()
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return p.gone()
	}
	p.next++
	c.number = strconv.FormatUint(p.next, 10)
	c.in.to = p.reply(c.number)
	c.subject = p.inSession(method, target)
	p.calls[c.number] = c
	p.latest = c
	p.mu.Unlock()
	send := func(ctx context.Context) error {
		return p.publish(ctx, c.subject, c.in.to, kind, body, true, c, headers...)
	}
	if p.caller.opts.Held != nil {
		p.mu.Lock()
		c.again = send
		p.mu.Unlock()
	}
	p.sent(c, send(ctx))
	return nil
}

// Listen gives what the server says by itself: requests, and notifications that belong to no request. after is the id of the last Event that was seen, whatever
// process saw it, and what has come since then follows; "" is after the last
// Event that a Stream of Listen has read: what was said while nobody listened waits for who does. One process listens to a session, the newest: the Stream of another ends with
// ErrReplaced. While nobody listens the instance keeps the last 256 messages, at most 1 MiB. Errors: ErrNoSession; ErrUnknown if what
// followed after is not kept any more; ctx's.
func (r *Remote) Listen(ctx context.Context, after string) (*Stream, error) {
	if after == "" {
		after = downStream
	}
	return r.attach(ctx, after, true)
}

// Resume gives what follows an Event of a request's Stream: it goes on here, and ends where it was read before. Errors: as Listen.
func (r *Remote) Resume(ctx context.Context, event string) (*Stream, error) {
	return r.attach(ctx, event, strings.HasPrefix(event, downStream))
}

func (r *Remote) attach(ctx context.Context, after string, listen bool) (*Stream, error) {
	if _, _, _, ok := parseEventID(after); !ok {
		return nil, fail(CodeUnknown, "no such event", Facts{Name: r.name, Instance: r.instance, Why: "an id of another form"})
	}
	p, err := r.client()
	if err != nil {
		return nil, err
	}
	c := &pending{session: true, listens: make(chan struct{})}
	if err := p.ask(ctx, c, frameResume, "", "", nil, HeaderAfter, after); err != nil {
		return nil, err
	}
	s := &Stream{p: p, listen: listen}
	for {
		select {
		case <-c.listens:
			return s, nil
		case <-p.queue.wake:
			p.queue.signal()
		case <-ctx.Done():
			_ = s.Close()
			return nil, ctx.Err()
		}
		select {
		case <-c.listens:
			return s, nil
		default:
		}
		if e, err := p.queue.get(ctx); err != nil { // it did not begin: there is one message, which says why
			_ = s.Close()
			return nil, err
		} else if e.failure {
			_ = s.Close()
			return nil, errorOf(e.raw)
		}
	}
}
