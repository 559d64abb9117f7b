package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// The headers of the two protocols.
const (
	headerSession = "Mcp-Session-Id"
	headerVersion = "Mcp-Protocol-Version"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerParam   = "Mcp-Param-"
	headerEvent   = "Last-Event-Id"
)

// firstModern is the first version of the stateless protocol. Versions are dates and sort as text.
const firstModern = "2026-07-28"

// legacyVersions are the versions with sessions that are served over this transport. Batches belong to the first two.
var legacyVersions = map[string]bool{"2024-11-05": true, "2025-03-26": true, "2025-06-18": true, "2025-11-25": true}

// post takes one message, or several of a client of 2025-03-26.
func (g *Gateway) post(w http.ResponseWriter, r *http.Request, at endpoint) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
		return
	}
	if asJSON, asStream := accepts(r); !asJSON || !asStream {
		http.Error(w, "Accept must have application/json and text/event-stream", http.StatusNotAcceptable)
		return
	}
	body, err := g.body(w, r)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		w.Header().Set("Connection", "close") // the rest of it is not read
		g.fail(w, http.StatusRequestEntityTooLarge, nil, wire.CodeTooLarge, "the body is too large")
		return
	}
	if err != nil {
		http.Error(w, "the body could not be read", http.StatusBadRequest)
		return
	}
	version := r.Header.Get(headerVersion)
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' && version < firstModern {
		g.batch(w, r, at, trimmed)
		return
	}
	m, err := wire.Scan(body)
	if err != nil {
		g.fail(w, http.StatusBadRequest, m.ID(), codeParse, strings.TrimPrefix(err.Error(), "wire: "))
		return
	}
	if !m.Request() && !m.Notification() && !m.Response() {
		g.fail(w, http.StatusBadRequest, m.ID(), codeInvalidRequest, "neither a request nor a notification nor a response")
		return
	}
	if version >= firstModern || m.Version != "" || m.Method == "server/discover" {
		g.modern(w, r, at, m)
		return
	}
	g.legacy(w, r, at, m)
}

// accepts reads which of the two kinds of answers a client takes. Saying nothing is taking both.
func accepts(r *http.Request) (asJSON, asStream bool) {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return true, true
	}
	for _, item := range strings.Split(strings.Join(values, ","), ",") {
		media, _, _ := strings.Cut(item, ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "application/json", "application/*":
			asJSON = true
		case "text/event-stream", "text/*":
			asStream = true
		case "*/*":
			asJSON, asStream = true, true
		}
	}
	return asJSON, asStream
}

// prefersStream tells whether a client names streams before JSON in what it accepts: it gets one also where an answer comes at once.
func prefersStream(r *http.Request) bool {
	accepted := strings.ToLower(strings.Join(r.Header.Values("Accept"), ","))
	stream := strings.Index(accepted, "text/event-stream")
	json := strings.Index(accepted, "application/json")
	return stream >= 0 && json > stream
}

// body reads the whole body, in one piece where its length is known.
func (g *Gateway) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	defer control.SetReadDeadline(time.Time{})
	limited := &patientBody{http.MaxBytesReader(w, r.Body, g.opts.MaxBody).Read, control, g.opts.Stall}
	if r.ContentLength > g.opts.MaxBody {
		return nil, &http.MaxBytesError{Limit: g.opts.MaxBody}
	}
	if r.ContentLength <= 0 || r.ContentLength > 1<<20 { // who only says that it is large must send it to be believed
		return io.ReadAll(limited)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(limited, body)
	return body, err
}
