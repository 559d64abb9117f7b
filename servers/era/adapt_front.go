package era

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// front is one modern request and what comes back: a wire.Pipe. Who waits at it may be another one than who has begun the call, after a retry.
type front struct {
	a      *Adapter
	q      *queue
	begun  atomic.Bool
	ctx    context.Context // ends with the request
	cancel context.CancelFunc

	call   *call   // that it waits for; a.mu guards both
	listen *listen // that it is
	id     json.RawMessage
	token  json.RawMessage
	level  int // the least urgent log level that it wants, -1 for none
}

func (f *front) Read(ctx context.Context) (json.RawMessage, error) { return f.q.read(ctx) }

// Write takes the one request, and then its cancellation.
func (f *front) Write(_ context.Context, raw json.RawMessage) error {
	m, err := wire.Scan(raw)
	switch {
	case err != nil:
		return &wire.Error{Code: -32700, Message: err.Error()}
	case m.Request():
		if f.begun.Swap(true) {
			return &wire.Error{Code: -32600, Message: "one conversation is for one request"}
		}
		if !f.a.spawn(func() { f.serve(m) }) {
			return io.ErrClosedPipe
		}
	case m.Method == methodCancelled:
		return f.Close()
	}
	return nil
}

// Close cancels the request, if it is not answered.
func (f *front) Close() error {
	f.cancel()
	f.q.end(io.ErrClosedPipe)
	f.a.mu.Lock()
	c, l := f.call, f.listen
	f.call, f.listen = nil, nil
	f.a.mu.Unlock()
	if c != nil {
		c.abandon("the client has cancelled it")
	}
	if l != nil {
		l.end()
	}
	return nil
}

// answer gives the last message.
func (f *front) answer(msg json.RawMessage) {
	f.q.put(msg)
	f.q.end(io.EOF)
}

// fail answers with what has gone wrong on the way to the server.
func (f *front) fail(err error) {
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		f.answer(refused.Response(f.id))
		return
	}
	f.q.end(err) // whoever reads knows how to say it
}

func (f *front) serve(m wire.Message) {
	f.id, f.token = m.ID(), m.At(wire.PlaceToken)
	top := parse(m.Raw)
	params := parse(top.get("params"))
	meta := parse(params.get("_meta"))
	f.level = level(meta.text(metaLevel))
	if meta.get(metaVersion) == nil && m.Method != methodDiscover {
		f.begin(m.Method, top, params, nil, true)
		return
	}
	if refused := f.a.checkMeta(m, meta); refused != nil {
		f.answer(refused)
		return
	}
	switch {
	case removed(m.Method):
		f.answer(refusal(f.id, codeNoMethod, m.Method+" is not of the modern protocol"))
	case m.Method == methodDiscover:
		f.answer(f.a.discover(f.id))
	case m.Method == methodListen:
		f.subscribe(params, meta)
	case asking(m.Method) && params.get("requestState") != nil:
		f.resume(m, params)
	default:
		f.begin(m.Method, top, params, meta, false)
	}
}

// begin gives a request to the server. A bare one comes back as the server says it.
func (f *front) begin(method string, top, params, meta object, bare bool) {
	capabilities := meta.get(metaCapabilities)
	can := readAbilities(capabilities)
	use := light
	if asking(method) {
		use = heavy
		if can.any() || f.level >= 0 {
			use = alone
		}
	}
	c := &call{a: f.a, method: method, can: can, use: use, bare: bare, request: digest(method, params)}
	ctx, cancel := context.WithTimeout(f.ctx, f.a.opts.Patience+openFor)
	defer cancel()
	if err := f.a.take(ctx, c, capabilities, meta.get(metaClient)); err != nil {
		if f.ctx.Err() != nil { // by Close, of the front or of the Adapter
			err = wire.ErrClosed
		}
		f.fail(err)
		return
	}
	if use == alone && f.level >= 0 {
		c.link.setLevel(ctx, f.level)
	}
	f.a.mu.Lock()
	if f.ctx.Err() != nil {
		f.a.mu.Unlock()
		f.a.release(c, 0)
		return
	}
	f.call, c.front = c, f
	id := c.id
	f.a.mu.Unlock()
	var token json.RawMessage
	if f.token != nil {
		token = id
	}
	if err := c.link.pipe.Write(f.a.ctx, legacyRequest(top, id, token)); err != nil {
		c.link.wrote(c, err)
	}
}

// forward takes a retry to the instance that has its call, and brings back what it says.
func (f *front) forward(to string, m wire.Message) {
	if f.a.opts.Forward == nil {
		f.answer(refusal(f.id, codeParams, errForeignState.Error()))
		return
	}
	s, err := f.a.opts.Forward(f.ctx, to, m.Raw)
	if err != nil {
		f.lost(err)
		return
	}
	defer s.Close()
	for {
		msg, err := s.Read(f.ctx)
		if err != nil {
			if f.ctx.Err() == nil {
				f.lost(err)
			}
			return
		}
		if m, err := wire.Scan(msg); err == nil && m.Response() {
			f.answer(msg)
			return
		}
		f.q.put(msg)
	}
}

// lost says that the instance which has the suspended call is not to be reached.
func (f *front) lost(err error) {
	refused, ok := errors.AsType[*wire.Error](err)
	if !ok || refused.Known() && refused.Facts().Executed == "no" {
		f.answer(refusal(f.id, codeParams, "requestState names a call whose instance has ended: "+err.Error()))
		return
	}
	f.answer(refused.Response(f.id))
}

// now is for the tests of expiry.
var now = time.Now
