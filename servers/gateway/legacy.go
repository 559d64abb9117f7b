package gateway

import (
	"errors"
	"net/http"
	"strings"

	"github.com/toolbus/toolbus/servers/wire"
)

// legacy serves one message of the protocol with sessions. What a client asked for goes on when it goes away: it can come back for it.
func (g *Gateway) legacy(w http.ResponseWriter, r *http.Request, at endpoint, m wire.Message) {
	if !g.versionKnown(w, r, m) {
		return
	}
	if m.Method == "initialize" && m.Request() {
		g.initialize(w, r, at, m)
		return
	}
	s, ok := g.session(w, r, at)
	if !ok {
		return
	}
	if !m.Request() {
		if err := s.send(r.Context(), m.Raw); err != nil {
			g.failed(w, r, nil, err)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answers, err := s.request(r.Context(), m.Raw)
	if err != nil {
		g.failed(w, r, m.ID(), err)
		return
	}
	g.relay(w, r, m.ID(), answers, kind{prime: primes(r), stream: prefersStream(r)})
}

// versionKnown checks the version that the client says was agreed on. One that says none is of 2025-03-26, which had no such header.
func (g *Gateway) versionKnown(w http.ResponseWriter, r *http.Request, m wire.Message) bool {
	version := r.Header.Get(headerVersion)
	if version == "" || legacyVersions[version] {
		return true
	}
	g.fail(w, http.StatusBadRequest, m.ID(), codeInvalidRequest, "MCP-Protocol-Version is of no version that is served here")
	return false
}

// primes tells whether the client knows events without data: those before 2025-11-25 do not.
func primes(r *http.Request) bool { return r.Header.Get(headerVersion) >= "2025-11-25" }

// initialize opens a session. Its id names the instance that has it, so every gateway of the scope can serve it.
func (g *Gateway) initialize(w http.ResponseWriter, r *http.Request, at endpoint, m wire.Message) {
	if r.Header.Get(headerSession) != "" {
		g.fail(w, http.StatusBadRequest, m.ID(), codeInvalidRequest, "a session is initialized once: leave Mcp-Session-Id out to open another")
		return
	}
	to, err := g.target(r.Context(), at)
	if err != nil {
		g.failed(w, r, m.ID(), err)
		return
	}
	answer, id, err := g.far.open(r.Context(), to, m.Raw)
	if err != nil {
		g.failed(w, r, m.ID(), err)
		return
	}
	if id != "" {
		w.Header().Set(headerSession, sessionID(at, to, id))
		g.log.Info("a session is open", "name", at.String(), "from", r.RemoteAddr)
	}
	g.unhurried(w, statusOf(errorCode(answer), false), answer)
}

// session finds the session that a request belongs to, or answers that there is none.
func (g *Gateway) session(w http.ResponseWriter, r *http.Request, at endpoint) (session, bool) {
	id := r.Header.Get(headerSession)
	if id == "" {
		http.Error(w, "the header Mcp-Session-Id is missing: the answer to initialize has one", http.StatusBadRequest)
		return nil, false
	}
	s, err := g.far.session(sessionTarget(at, id))
	if err != nil {
		if errors.Is(err, wire.ErrNoSession) {
			sessionGone(w)
		} else {
			http.Error(w, strings.TrimPrefix(err.Error(), "wire: "), http.StatusBadRequest)
		}
		return nil, false
	}
	return s, true
}

// get opens the stream of what a server says by itself, or goes on with a stream that broke.
func (g *Gateway) get(w http.ResponseWriter, r *http.Request, at endpoint) {
	version := r.Header.Get(headerVersion)
	if version >= firstModern {
		notAllowed(w, "POST")
		return
	}
	if _, asStream := accepts(r); !asStream {
		http.Error(w, "Accept must have text/event-stream", http.StatusNotAcceptable)
		return
	}
	if !g.versionKnown(w, r, wire.Message{}) {
		return
	}
	s, ok := g.session(w, r, at)
	if !ok {
		return
	}
	var said stream
	var err error
	event := r.Header.Get(headerEvent)
	if event == "" {
		said, err = s.listen(r.Context())
	} else {
		said, err = g.resume(r, s, event)
	}
	switch {
	case err == nil:
		g.relay(w, r, nil, said, kind{prime: primes(r) && event == "", stream: true, open: true})
	case errors.Is(err, wire.ErrNoSession) || event == "":
		g.failed(w, r, nil, err)
	default: // no 404, which would say that the session has ended
		http.Error(w, "that stream cannot be gone on with: "+strings.TrimPrefix(err.Error(), "wire: "), http.StatusBadRequest)
	}
}

// end ends a session.
func (g *Gateway) end(w http.ResponseWriter, r *http.Request, at endpoint) {
	if r.Header.Get(headerVersion) >= firstModern {
		notAllowed(w, "POST")
		return
	}
	if !g.versionKnown(w, r, wire.Message{}) {
		return
	}
	s, ok := g.session(w, r, at)
	if !ok {
		return
	}
	if err := s.close(r.Context()); err != nil {
		g.failed(w, r, nil, err)
		return
	}
	g.log.Info("a session was ended by its client", "name", at.String(), "from", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}
