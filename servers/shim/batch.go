package shim

import (
	"bytes"
	"encoding/json"

	"github.com/toolbus/toolbus/servers/wire"
)

// batch collects the responses to what came in one array. The shim's lock guards it.
type batch struct {
	open int // requests without a response; and one for as long as the batch is being read
	out  [][]byte
}

// add takes a response, and returns the whole answer once it is complete.
func (b *batch) add(raw json.RawMessage) json.RawMessage {
	b.out = append(b.out, raw)
	return b.close()
}

// close takes one away that will have no response.
func (b *batch) close() json.RawMessage {
	if b.open--; b.open > 0 || len(b.out) == 0 {
		return nil
	}
	whole := append([]byte{'['}, bytes.Join(b.out, []byte(","))...)
	b.out = nil
	return append(whole, ']')
}

// lastBatches is the newest version that knows batches. Versions are dates.
const lastBatches = "2025-03-26"

// fromBatch takes a batch apart.
func (s *shim) fromBatch(raw json.RawMessage) {
	s.mu.Lock()
	version := s.session.version
	s.mu.Unlock()
	var all []json.RawMessage
	switch err := json.Unmarshal(raw, &all); {
	case err != nil:
		s.out.later((&wire.Error{Code: codeParse, Message: err.Error()}).Response(nil))
		return
	case len(all) == 0 || version == "" || version > lastBatches:
		s.out.later((&wire.Error{Code: codeInvalid, Message: "a batch is not a message here: only sessions of " + lastBatches + " and older know them"}).Response(nil))
		return
	}
	b := &batch{open: 1 + len(all)}
	for _, one := range all {
		m, err := wire.Scan(one)
		switch {
		case err != nil:
			s.answer(&request{batch: b}, (&wire.Error{Code: codeParse, Message: plain(err)}).Response(nil), s.out.later)
		case m.Request() && m.Method == methodInitialize:
			s.answer(&request{batch: b}, (&wire.Error{Code: codeInvalid, Message: "initialize is not part of a batch"}).Response(m.ID()), s.out.later)
		case m.Request():
			s.take(m, b)
		default:
			s.take(m, nil)
			s.unbatch(b)
		}
	}
	s.unbatch(b)
}

// unbatch notes that a part of a batch has no response.
func (s *shim) unbatch(b *batch) {
	if b == nil {
		return
	}
	s.mu.Lock()
	whole := b.close()
	s.mu.Unlock()
	if whole != nil {
		s.out.later(whole)
	}
}
