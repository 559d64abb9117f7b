package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// exchange is one request to a modern server, and what belongs to it: a wire.Pipe. To close it is to cancel the request.
type exchange struct {
	inbox
	h    *HTTP
	once sync.Once
	mu   sync.Mutex
	id   json.RawMessage // of the request, once there is one
}

// newExchange opens one.
func (h *HTTP) newExchange() (*exchange, error) {
	x := &exchange{inbox: newInbox(h.ctx), h: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return nil, wire.ErrClosed
	}
	h.pipes[x] = struct{}{}
	return x, nil
}

// Write makes the request; afterwards only its cancellation means anything.
func (x *exchange) Write(_ context.Context, raw json.RawMessage) error {
	if err := x.Err(); err != nil {
		return err
	}
	msg, err := wire.Scan(raw)
	if err != nil {
		return &wire.Error{Code: -32700, Message: err.Error()}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case msg.Request() && x.id == nil:
		if msg.Version == "" { // typed by hand, perhaps
			if msg, err = wire.Scan(msg.WithMeta(servers.ModernVersion)); err != nil {
				return err
			}
		}
		x.id = append(json.RawMessage(nil), msg.ID()...)
		if !x.h.spawn(func() { x.run(msg) }) {
			return io.ErrClosedPipe
		}
	case msg.Method == "notifications/cancelled" && string(msg.At(wire.PlaceCancelled)) == string(x.id):
		x.cancel(nil)
	case msg.Request():
		return &wire.Error{Code: -32600, Message: "one request at a time"}
	}
	return nil
}

// run makes the request and passes its answer on.
func (x *exchange) run(msg wire.Message) {
	answered, err := x.h.exchange(x.ctx, msg, x.put)
	if answered || x.ctx.Err() != nil {
		return
	}
	if err == nil {
		err = errors.New("the server ended the answer before it was there")
	}
	x.h.noticed(err)
	x.put(failed(err).Response(x.id))
}

// exchange makes one request of a modern server. answered tells whether the answer was put.
func (h *HTTP) exchange(ctx context.Context, msg wire.Message, put func(json.RawMessage)) (answered bool, err error) {
	again, answered, err := h.exchangeOnce(ctx, msg, false, put)
	if again {
		_, answered, err = h.exchangeOnce(ctx, msg, true, put)
	}
	return answered, err
}

// codeHeaderMismatch is a server's word that headers and body differ.
const codeHeaderMismatch = -32020

// exchangeOnce is exchange. again: the server does not understand the name in a header that has it as base64, which servers of go-sdk 1.8 do not; it has not
// acted, and is to be asked once more with the name as it is (plain).
func (h *HTTP) exchangeOnce(ctx context.Context, msg wire.Message, plain bool, put func(json.RawMessage)) (again, answered bool, err error) {
	id := msg.ID()
	r, err := h.request(ctx, http.MethodPost, "", msg.Raw)
	if err != nil {
		return false, false, err
	}
	h.mirror(r.Header, msg)
	encoded := strings.HasPrefix(r.Header.Get(headerName), base64Prefix)
	if target, err := msg.Target(); plain && err == nil {
		r.Header.Set(headerName, target)
	}
	resp, err := h.do(r)
	if err != nil {
		return false, false, err
	}
	if resp.StatusCode/100 != 2 {
		answer, refused := h.told(resp)
		if answer == nil {
			return false, false, refused
		}
		m, err := wire.Scan(answer)
		if err != nil {
			return false, false, err
		}
		var a struct{ Error wire.Error }
		if encoded && !plain && json.Unmarshal(answer, &a) == nil && a.Error.Code == codeHeaderMismatch {
			if target, err := msg.Target(); err == nil && headerSafe(target) {
				return true, false, nil
			}
		}
		if string(m.ID()) != string(id) && m.ID() != nil { // null: the server could not read the request's
			answer = m.With(map[wire.Place]json.RawMessage{wire.PlaceID: id})
		}
		put(answer)
		return false, true, nil
	}
	err = h.body(resp, func(string, string) {}, func(raw json.RawMessage) {
		answered = answered || answers(raw, id)
		put(raw)
	})
	return false, answered, err
}

// Close cancels the request if it is not answered yet.
func (x *exchange) Close() error {
	x.cancel(nil)
	x.once.Do(func() { x.h.forget(x) })
	return nil
}
