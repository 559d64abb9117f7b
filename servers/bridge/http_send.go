package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/toolbus/toolbus/servers/wire"
)

// maxTold is how much of an error's text is kept, in bytes.
const maxTold = 300

// request makes a request of HTTP. target "" is the server's URL.
func (h *HTTP) request(ctx context.Context, method, target string, body []byte) (*http.Request, error) {
	if target == "" {
		target = h.url.String()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for key, values := range h.opts.Header {
		r.Header[http.CanonicalHeaderKey(key)] = values
	}
	switch method {
	case http.MethodPost:
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
	case http.MethodGet:
		r.Header.Set("Accept", "text/event-stream")
	}
	return r, nil
}

// do sends it and waits for the head of the answer. The error is a *RemoteError, or ctx's.
func (h *HTTP) do(r *http.Request) (*http.Response, error) {
	resp, err := h.client.Do(r)
	if err == nil {
		return resp, nil
	}
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	sent := true
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED) {
		sent = false
	}
	if inner := errors.Unwrap(err); inner != nil { // without the method and the URL, which has them
		err = inner
	}
	return nil, &RemoteError{URL: h.url.Redacted(), Err: err, Sent: sent}
}

// told is a refusal by HTTP. Where its body is an answer of JSON-RPC that is what counts: it is returned.
func (h *HTTP) told(resp *http.Response) (json.RawMessage, *RemoteError) {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, int64(h.opts.MaxMessage))) // as far as it comes
	if m, err := wire.Scan(bytes.TrimSpace(body)); err == nil && m.Response() {
		return m.Raw, &RemoteError{URL: h.url.Redacted(), Status: resp.StatusCode}
	}
	return nil, &RemoteError{URL: h.url.Redacted(), Status: resp.StatusCode, Body: clean(string(body[:min(len(body), 4*maxTold)]), maxTold), Sent: resp.StatusCode >= 500}
}

// body gives each message of an answer to put, until its end; of a stream of events the id of each goes to seen first. Batches are taken apart.
func (h *HTTP) body(resp *http.Response, seen func(id, retry string), put func(json.RawMessage)) error {
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "text/event-stream" {
		return readEvents(resp.Body, h.opts.MaxMessage, func(e event) {
			seen(e.id, e.retry)
			if e.name == "" || e.name == "message" {
				split(e.data, put)
			}
		})
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(h.opts.MaxMessage)+1))
	switch {
	case err != nil:
		return &RemoteError{URL: h.url.Redacted(), Err: err, Sent: true}
	case len(body) > h.opts.MaxMessage:
		return wire.NewError(wire.CodeTooLarge, "the answer is longer than a message may be", wire.Facts{Executed: "unknown"})
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	case !strings.HasSuffix(kind, "json"):
		return &RemoteError{URL: h.url.Redacted(), Status: resp.StatusCode, Sent: true, Body: "an answer of the type " + clean(kind, 100)}
	}
	split(body, put)
	return nil
}

// split takes a batch apart; what is no message is dropped.
func split(raw []byte, put func(json.RawMessage)) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || !json.Valid(raw) {
		return
	}
	if raw[0] != '[' {
		put(raw)
		return
	}
	var batch []json.RawMessage
	_ = json.Unmarshal(raw, &batch) // it is valid
	for _, msg := range batch {
		put(msg)
	}
}

// failed makes the answer to a request of which none came.
func failed(err error) *wire.Error {
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return refused
	}
	if remote, ok := errors.AsType[*RemoteError](err); ok {
		return remote.answer()
	}
	return wire.NewError(wire.CodeBackend, "the server did not answer: "+err.Error(), wire.Facts{Why: err.Error(), Executed: "unknown"})
}
