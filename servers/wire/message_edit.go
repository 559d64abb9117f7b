package wire

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Place is one of the places of a message at which whoever stands in the middle may have to put other bytes.
type Place int

// The places.
const (
	PlaceID           Place = iota // id
	PlaceToken                     // params._meta.progressToken: a request asks for progress under it
	PlaceProgress                  // params.progressToken: progress for it
	PlaceCancelled                 // params.requestId: the request that is cancelled
	PlaceSubscription              // params._meta.io.modelcontextprotocol/subscriptionId: the request that subscribed
	PlaceName                      // params.name
	PlaceURI                       // params.uri
)

func (m Message) place(p Place) span {
	switch p {
	case PlaceID:
		return m.id
	case PlaceToken:
		return m.metaToken
	case PlaceProgress:
		return m.paramsToken
	case PlaceCancelled:
		return m.requestID
	case PlaceSubscription:
		return m.subscription
	case PlaceName:
		return m.name
	case PlaceURI:
		return m.uri
	}
	return span{}
}

// At is what stands at a place, as it was written; nil if there is nothing.
func (m Message) At(p Place) json.RawMessage { return m.place(p).of(m.Raw) }

// With returns a copy of the message's bytes with others at some places, and every other byte as it is. Places that the message does not have stay away.
func (m Message) With(other map[Place]json.RawMessage) json.RawMessage {
	var edits []edit
	for p, with := range other {
		if at := m.place(p); at.to > 0 {
			edits = append(edits, edit{at, with})
		}
	}
	return splice(m.Raw, edits...)
}

// Unattended is the answer to a request of a server's behind which there is no client: a ping is answered well, anything else refused.
func Unattended(request Message) json.RawMessage {
	if request.Method == "ping" {
		return json.RawMessage(`{"jsonrpc":"2.0","id":` + string(request.ID()) + `,"result":{}}`)
	}
	return (&Error{Code: -32601, Message: request.Method + ": no client stands behind this conversation"}).Response(request.ID())
}

// edit puts other bytes in the place of a span. An empty span inserts.
type edit struct {
	at   span
	with []byte
}

// splice returns a copy of raw with the edits made. They must not overlap.
func splice(raw []byte, edits ...edit) json.RawMessage {
	slices.SortFunc(edits, func(a, b edit) int { return a.at.from - b.at.from })
	size := len(raw)
	for _, e := range edits {
		size += len(e.with) - (e.at.to - e.at.from)
	}
	out := make([]byte, 0, size)
	from := 0
	for _, e := range edits {
		out = append(out, raw[from:e.at.from]...)
		out = append(out, e.with...)
		from = e.at.to
	}
	return append(out, raw[from:]...)
}

// WithMeta returns the message with the _meta that a modern server asks for where it is missing: the protocol version, and no
// capabilities. So a bare request, typed by hand, is understood. A message whose params are not an object is returned as it is.
func (m Message) WithMeta(version string) json.RawMessage {
	var add [][]byte
	if m.version.to == 0 {
		quoted, _ := json.Marshal(version)
		add = append(add, []byte(`"`+metaVersion+`":`+string(quoted)))
	}
	if m.capabilities.to == 0 {
		add = append(add, []byte(`"`+metaCapabilities+`":{}`))
	}
	if len(add) == 0 {
		return m.Raw
	}
	members := bytes.Join(add, []byte(","))
	object := func(at span, with []byte) json.RawMessage { // after the brace that opens the object
		from := at.from + 1
		if inner := bytes.TrimSpace(m.Raw[from : at.to-1]); len(inner) > 0 {
			with = append(with, ',')
		}
		return splice(m.Raw, edit{span{from, from}, with})
	}
	switch meta, params := m.meta.of(m.Raw), m.params.of(m.Raw); {
	case meta != nil && meta[0] == '{':
		return object(m.meta, members)
	case meta != nil: // null, or nonsense that the server shall judge
		return m.Raw
	case params != nil && params[0] == '{':
		return object(m.params, []byte(`"_meta":{`+string(members)+`}`))
	case params != nil:
		return m.Raw
	}
	whole := span{bytes.IndexByte(m.Raw, '{'), bytes.LastIndexByte(m.Raw, '}') + 1}
	return object(whole, []byte(`"params":{"_meta":{`+string(members)+`}}`))
}
