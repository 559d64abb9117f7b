package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/toolbus/toolbus/servers/wire"
)

// maxBatch is how many messages one batch may have.
const maxBatch = 100

// batch takes a batch of 2025-03-26 apart: on the bus each message goes by itself, and the answers come on one stream as they are ready.
func (g *Gateway) batch(w http.ResponseWriter, r *http.Request, at endpoint, body []byte) {
	if !g.versionKnown(w, r, wire.Message{}) {
		return
	}
	if r.Header.Get(headerVersion) > "2025-03-26" {
		g.fail(w, http.StatusBadRequest, nil, codeInvalidRequest, "this protocol version has no batches: send one message at a time")
		return
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		g.fail(w, http.StatusBadRequest, nil, codeParse, "the batch is not JSON")
		return
	}
	if len(raw) == 0 || len(raw) > maxBatch {
		g.fail(w, http.StatusBadRequest, nil, codeInvalidRequest, "a batch has 1 to 100 messages")
		return
	}
	messages := make([]wire.Message, len(raw))
	for i, one := range raw {
		m, err := wire.Scan(one)
		switch {
		case err != nil:
			g.fail(w, http.StatusBadRequest, m.ID(), codeInvalidRequest, strings.TrimPrefix(err.Error(), "wire: "))
			return
		case !m.Request() && !m.Notification() && !m.Response() || m.Method == "initialize" || m.Version != "":
			g.fail(w, http.StatusBadRequest, m.ID(), codeInvalidRequest, "a message that is not part of a batch")
			return
		}
		messages[i] = m
	}
	s, ok := g.session(w, r, at)
	if !ok {
		return
	}
	var answers []stream
	for _, m := range messages {
		if !m.Request() {
			if err := s.send(r.Context(), m.Raw); err != nil {
				closeAll(answers)
				g.failed(w, r, nil, err)
				return
			}
			continue
		}
		one, err := s.request(r.Context(), m.Raw)
		if err != nil {
			closeAll(answers)
			g.failed(w, r, m.ID(), err)
			return
		}
		answers = append(answers, one)
	}
	if len(answers) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	g.relay(w, r, nil, g.merge(r.Context(), answers), kind{stream: true})
}

func closeAll(streams []stream) {
	for _, s := range streams {
		s.close()
	}
}

// between separates the places of the streams that were merged, in an event's id. No place of a stream has it.
const between = "~"

// resume goes on after an event, of one stream or of several that were merged.
func (g *Gateway) resume(r *http.Request, s session, event string) (stream, error) {
	places := strings.Split(event, between)
	if len(places) == 1 {
		return s.resume(r.Context(), event)
	}
	var streams []stream
	for _, place := range places[:min(len(places), maxBatch)] {
		one, err := s.resume(r.Context(), place)
		if err != nil {
			closeAll(streams)
			return nil, err
		}
		streams = append(streams, one)
	}
	return g.merge(r.Context(), streams), nil
}

// merged is several streams as one. The id of an event holds the places of all of them.
type merged struct {
	streams []stream
	places  []string
	left    int
	next    chan mergedEvent
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

type mergedEvent struct {
	from int
	event
	err error
}

func (g *Gateway) merge(ctx context.Context, streams []stream) stream {
	ctx, cancel := context.WithCancel(ctx)
	m := &merged{streams: streams, places: make([]string, len(streams)), left: len(streams), next: make(chan mergedEvent), cancel: cancel}
	for i, s := range streams {
		m.places[i] = s.position()
		m.work.Go(func() {
			for {
				e, err := s.read(ctx)
				select {
				case m.next <- mergedEvent{i, e, err}:
				case <-ctx.Done():
					return
				}
				if err != nil || e.last {
					return
				}
			}
		})
	}
	return m
}

func (m *merged) read(ctx context.Context) (event, error) {
	for m.left > 0 {
		select {
		case e := <-m.next:
			if e.err == io.EOF { // its answer had been read before
				m.left--
				continue
			}
			if e.err != nil {
				return event{}, e.err
			}
			m.places[e.from] = e.id
			if e.last {
				m.left--
			}
			return event{id: m.position(), msg: e.msg, last: m.left == 0}, nil
		case <-ctx.Done():
			return event{}, ctx.Err()
		}
	}
	return event{}, io.EOF
}

// position is "" where one of the streams has no place: a part of them is nothing to go on from.
func (m *merged) position() string {
	for _, place := range m.places {
		if place == "" {
			return ""
		}
	}
	return strings.Join(m.places, between)
}

// start is "": clients that send batches go on from events with data only.
func (m *merged) start() string { return "" }

func (m *merged) close() {
	m.cancel()
	m.work.Wait()
	closeAll(m.streams)
}
