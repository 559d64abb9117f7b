package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// The error codes of the two protocols that have an HTTP status of their own.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeHeaderMismatch = -32020
	codeCapability     = -32021
	codeVersion        = -32022
)

// fail answers one request with a JSON-RPC error. id is nil where there is none.
func (g *Gateway) fail(w http.ResponseWriter, status int, id json.RawMessage, code int, message string) {
	g.log.Debug("refused", "status", status, "code", code, "why", message)
	writeJSON(w, status, (&wire.Error{Code: code, Message: message}).Response(id))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone has cancelled the request already
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	http.Error(w, "method not allowed: use "+allow, http.StatusMethodNotAllowed)
}

// failed answers with an error of the bus. What happened before anybody had the request has an HTTP status; everything later is an ordinary answer.
func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, id json.RawMessage, err error) {
	e, ok := errors.AsType[*wire.Error](err)
	switch {
	case errors.Is(err, wire.ErrNoSession):
		sessionGone(w)
	case ok:
		writeJSON(w, statusOf(e.Code, false), e.Response(id))
	case g.staying.Err() != nil:
		http.Error(w, "the gateway is closing", http.StatusServiceUnavailable)
	case r.Context().Err() != nil: // nobody is there to be told
	default:
		g.log.Warn("the bus failed", "err", err)
		writeJSON(w, http.StatusBadGateway, wire.NewError(wire.CodeUnknown, strings.TrimPrefix(err.Error(), "wire: "), wire.Facts{}).Response(id))
	}
}

// sessionGone is the protocol's sign to initialize again. It is no JSON-RPC error: clients take one for the answer of a session that lives.
func sessionGone(w http.ResponseWriter) {
	http.Error(w, "no such session, or it has ended: initialize again", http.StatusNotFound)
}

// statusOf is the HTTP status of an answer that is an error. Modern clients read a few from it.
func statusOf(code int, modern bool) int {
	switch code {
	case wire.CodeNoName:
		return http.StatusNotFound
	case wire.CodeNoResponders, wire.CodeNotValid, wire.CodeBusy:
		return http.StatusServiceUnavailable
	case wire.CodeRefused, codeParse:
		return http.StatusBadRequest
	}
	if !modern {
		return http.StatusOK
	}
	switch code {
	case codeMethodNotFound:
		return http.StatusNotFound
	case codeInvalidRequest, codeInvalidParams, codeHeaderMismatch, codeCapability, codeVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// errorCode reads the code of an answer that is an error, 0 of any other. It stops at the first member that decides, so a large result costs nothing.
func errorCode(answer []byte) int {
	d := json.NewDecoder(bytes.NewReader(answer))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return 0
	}
	for d.More() {
		key, err := d.Token()
		if err != nil || key == "result" || key == "method" {
			return 0
		}
		if key == "error" {
			var e struct {
				Code int `json:"code"`
			}
			if d.Decode(&e) != nil {
				return 0
			}
			return e.Code
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return 0
		}
	}
	return 0
}

// kind says how a stream is passed on.
type kind struct {
	modern bool
	calls  bool // its client has only this connection: it is waited for when the gateway is closing
	prime  bool // the client can go on from an event without data
	stream bool // never one JSON answer, even if it comes at once
	open   bool // a stream without an answer: the client listens
}

// primeWithin is how long the stream of a client that can go on from an event waits at most for the place of the first.
const primeWithin = 5 * time.Second

// relay answers a request with what s says: as JSON where the answer comes soon and alone, else as a stream of events. It closes s.
func (g *Gateway) relay(w http.ResponseWriter, r *http.Request, id json.RawMessage, s stream, k kind) {
	defer s.close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !k.calls {
		defer context.AfterFunc(g.staying, cancel)()
	}
	within := g.answers
	if k.modern {
		within = max(within, modernWithin)
	}
	first, late, err := readWithin(ctx, s, within)
	for end := time.Now().Add(primeWithin); k.prime && late && s.start() == "" && time.Now().Before(end); {
		first, late, err = readWithin(ctx, s, within) // the instance has not said yet that it has the request: there is no place to go on from
	}
	switch {
	case err != nil && (err != io.EOF || !k.open):
		g.failed(w, r, id, err)
		return
	case first.last:
		code := errorCode(first.msg)
		switch {
		case !k.modern && (code == wire.CodeNoSession || code == wire.CodeNoResponders || code == wire.CodeNoName): // its instance is not there any more
			sessionGone(w)
			return
		case !k.stream || code != 0 && statusOf(code, k.modern) != http.StatusOK:
			g.unhurried(w, statusOf(code, k.modern), first.msg)
			return
		}
	}
	e, failure := newEventWriter(w, g.opts.Stall)
	if at := s.start(); failure == nil && k.prime && at != "" {
		failure = e.prime(at, g.opts.Retry)
	} else if failure == nil && late {
		failure = e.comment("wait")
	}
	for one := first; failure == nil && err == nil; {
		if one.msg != nil {
			if k.modern { // a stream that breaks is not gone on with
				one.id = ""
			}
			failure = e.event(one.id, one.msg)
		}
		if one.last || failure != nil {
			break
		}
		if one, late, err = readWithin(ctx, s, g.opts.KeepAlive); late {
			failure = e.comment("still here")
		}
	}
	if failure != nil {
		g.log.Debug("a stream was cut off", "err", failure, "from", r.RemoteAddr)
	}
	if err == nil || err == io.EOF || ctx.Err() != nil || k.open || failure != nil {
		return
	}
	last, ok := errors.AsType[*wire.Error](err) // the bus has no more for this request: that must not be silence
	if !ok {
		last = wire.NewError(wire.CodeUnknown, strings.TrimPrefix(err.Error(), "wire: "), wire.Facts{})
	}
	_ = e.event("", last.Response(id))
}

// readWithin reads the next event. late: there was none within d, and there may be one.
func readWithin(ctx context.Context, s stream, d time.Duration) (e event, late bool, err error) {
	soon, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	e, err = s.read(soon)
	if err != nil && soon.Err() != nil && ctx.Err() == nil {
		return event{}, true, nil
	}
	return e, false, err
}

// unhurried writes a JSON answer to a client that may be slow.
func (g *Gateway) unhurried(w http.ResponseWriter, status int, body []byte) {
	if len(body) <= writeSlice {
		writeJSON(w, status, body)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if err := writeSlowly(w, http.NewResponseController(w), body, g.opts.Stall); err != nil {
		g.log.Debug("an answer was cut off", "err", err, "bytes", len(body))
	}
}
