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
	case r.Context().Err() != nil && g.ctx.Err() == nil: // nobody is there to be told
	case g.ctx.Err() != nil:
		http.Error(w, "the gateway is closing", http.StatusServiceUnavailable)
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
	prime  bool // the client can go on from an event without data
	stream bool // never one JSON answer, even if it comes at once
	open   bool // a stream without an answer: the client listens
}

// relay answers a request with what s says: as JSON where the answer comes soon and alone, else as a stream of events. It closes s.
func (g *Gateway) relay(w http.ResponseWriter, r *http.Request, id json.RawMessage, s stream, k kind) {
	defer s.close()
	ctx := r.Context()
	soon, cancel := context.WithTimeout(ctx, g.answers)
	first, err := s.read(soon)
	late := err != nil && soon.Err() != nil && ctx.Err() == nil
	cancel()
	switch {
	case err != nil && !late && (err != io.EOF || !k.open):
		g.failed(w, r, id, err)
		return
	case err == nil && first.last:
		code := errorCode(first.msg)
		switch {
		case code == wire.CodeNoSession && !k.modern:
			sessionGone(w)
			return
		case !k.stream || code != 0 && statusOf(code, k.modern) != http.StatusOK:
			g.unhurried(w, statusOf(code, k.modern), first.msg)
			return
		}
	}
	e, err := newEventWriter(w, g.opts.Stall)
	if err != nil {
		return
	}
	if at := s.position(); k.prime && late && at != "" {
		err = e.prime(at, g.opts.Retry)
	} else if k.open && late {
		err = e.comment("listening")
	}
	say := func(one event) error {
		if k.modern { // a stream that breaks is not gone on with
			one.id = ""
		}
		return e.event(one.id, one.msg)
	}
	if first.msg != nil && err == nil {
		err = say(first)
	}
	for ended := !late && (first.last || first.msg == nil); err == nil && !ended; {
		var next event
		quiet, cancel := context.WithTimeout(ctx, g.opts.KeepAlive)
		next, err = s.read(quiet)
		silent := err != nil && quiet.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case silent:
			err = e.comment("still here")
		case err == nil:
			err = say(next)
			ended = next.last
		case ctx.Err() != nil || k.open || err == io.EOF:
		default: // the bus has no more for this request: that must not be silence
			failure, ok := errors.AsType[*wire.Error](err)
			if !ok {
				failure = wire.NewError(wire.CodeUnknown, strings.TrimPrefix(err.Error(), "wire: "), wire.Facts{})
			}
			_ = e.event("", failure.Response(id))
		}
	}
	if err != nil && err != io.EOF {
		g.log.Debug("a stream was cut off", "err", err, "from", r.RemoteAddr)
	}
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
