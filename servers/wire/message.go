package wire

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The members of _meta that the wire knows.
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
)

// The methods that the wire knows. All others pass without being understood.
const (
	methodInitialize = "initialize"
	methodCancelled  = "notifications/cancelled"
	methodProgress   = "notifications/progress"
	methodCallTool   = "tools/call"
	methodListTools  = "tools/list"
)

// Message is one JSON-RPC message as it came, and where in it the few things stand that the wire reads. Nothing is ever encoded
// again: a member that nobody here knows and a number that no float64 holds go on as they are.
type Message struct {
	Raw     json.RawMessage
	Method  string // "" in a response
	Version string // the protocol version in params._meta, "" if there is none

	id, name, uri, requestID, subscription span
	params, meta                           span
	metaToken, paramsToken                 span // params._meta.progressToken, params.progressToken
	method, result, failure                bool // which of the top members are there
	version, capabilities                  span
	twice                                  []string // members that two readers could read differently, as "params.name"
}

// Scan reads one message. The error says that it is not a JSON object or that a member which decides who gets it has the wrong type.
// Line breaks between tokens become spaces (in raw itself), so that a message can travel on one line.
func Scan(raw json.RawMessage) (Message, error) {
	m := Message{Raw: raw}
	s := &scanner{raw: raw}
	s.space()
	if s.peek() != '{' {
		if s.peek() == '[' {
			return m, fmt.Errorf("wire: a batch is not one message")
		}
		return m, s.syntaxError()
	}
	err := s.object(func(key string) error {
		switch m.watch("", key, "method", "id", "params", "result", "error", "jsonrpc") {
		case "method":
			text, err := m.text(s, "method")
			m.Method, m.method = text, true
			return err
		case "id":
			return keep(s, &m.id)
		case "params":
			m.params.from = s.pos
			if s.peek() != '{' {
				return keep(s, &m.params)
			}
			err := s.object(func(key string) error { return m.param(s, key) })
			m.params.to = s.pos
			return err
		case "result":
			m.result = true
		case "error":
			m.failure = true
		}
		_, err := s.value()
		return err
	})
	if err == nil {
		if s.space(); s.pos != len(raw) {
			err = errSyntax
		}
	}
	if err == errSyntax {
		err = s.syntaxError()
	}
	if err == nil && s.newline {
		oneLine(raw)
	}
	return m, err
}

func (m *Message) param(s *scanner, key string) error {
	switch m.watch("params.", key, "_meta", "name", "uri", "requestId", "progressToken") {
	case "_meta":
		m.meta.from = s.pos
		if s.peek() != '{' {
			return keep(s, &m.meta)
		}
		err := s.object(func(key string) error { return m.metaMember(s, key) })
		m.meta.to = s.pos
		return err
	case "name":
		return keep(s, &m.name)
	case "uri":
		return keep(s, &m.uri)
	case "requestId":
		return keep(s, &m.requestID)
	case "progressToken":
		return keep(s, &m.paramsToken)
	}
	_, err := s.value()
	return err
}

func (m *Message) metaMember(s *scanner, key string) error {
	switch m.watch("_meta.", key, "progressToken", metaVersion, metaCapabilities, metaSubscription) {
	case "progressToken":
		return keep(s, &m.metaToken)
	case metaSubscription:
		return keep(s, &m.subscription)
	case metaCapabilities:
		return keep(s, &m.capabilities)
	case metaVersion:
		err := keep(s, &m.version)
		if at := m.version.of(s.raw); err == nil && at[0] == '"' {
			m.Version = decodeKey(at)
		}
		return err
	}
	_, err := s.value()
	return err
}

func keep(s *scanner, at *span) (err error) {
	*at, err = s.value()
	return err
}

// watch finds which of the known members key is. One that comes twice, or in another case (some readers ignore it), is noted.
func (m *Message) watch(path, key string, known ...string) string {
	for _, k := range known {
		if key != k {
			if len(key) >= len(k) && strings.EqualFold(key, k) {
				m.twice = append(m.twice, path+k)
			}
			continue
		}
		full := path + k
		if m.seen(full) {
			m.twice = append(m.twice, full)
		}
		return k
	}
	return ""
}

// seen tells whether a known member was read before.
func (m *Message) seen(full string) bool {
	switch full {
	case "method":
		return m.method
	case "id":
		return m.id.to > 0
	case "params":
		return m.params.to > 0
	case "result":
		return m.result
	case "error":
		return m.failure
	case "params._meta":
		return m.meta.to > 0
	case "params.name":
		return m.name.to > 0
	case "params.uri":
		return m.uri.to > 0
	case "params.requestId":
		return m.requestID.to > 0
	case "params.progressToken":
		return m.paramsToken.to > 0
	case "_meta.progressToken":
		return m.metaToken.to > 0
	case "_meta." + metaVersion:
		return m.version.to > 0
	case "_meta." + metaCapabilities:
		return m.capabilities.to > 0
	case "_meta." + metaSubscription:
		return m.subscription.to > 0
	}
	return false // jsonrpc: nothing is decided by it
}

func (m *Message) text(s *scanner, what string) (string, error) {
	at, err := s.value()
	if err != nil {
		return "", err
	}
	if quoted := at.of(s.raw); quoted[0] == '"' {
		text, sure := decodeText(quoted)
		if !sure {
			m.twice = append(m.twice, what)
		}
		return text, nil
	}
	return "", fmt.Errorf("wire: %s is not a string", what)
}

// ID is the message's id as it was written, nil if it has none. null is an id of its own.
func (m Message) ID() json.RawMessage { return m.id.of(m.Raw) }

// Request tells whether the message wants an answer, Notification that it wants none, Response that it is one.
func (m Message) Request() bool { return m.method && m.id.to > 0 }

// Notification tells whether the message has a method and no id.
func (m Message) Notification() bool { return m.method && m.id.to == 0 }

// Response tells whether the message answers a request.
func (m Message) Response() bool { return !m.method && (m.result || m.failure) }

// Failed tells whether a response is an error.
func (m Message) Failed() bool { return m.failure }

// Target is the tool, prompt or resource that the message is about, "" if its method has none. The error says that it cannot
// be told for certain.
func (m Message) Target() (string, error) {
	at, what := m.name, "params.name"
	switch m.Method {
	case "tools/call", "prompts/get":
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		at, what = m.uri, "params.uri"
	default:
		return "", nil
	}
	if slices.Contains(m.twice, what) {
		return "", fmt.Errorf("wire: %s stands more than once", what)
	}
	quoted := at.of(m.Raw)
	if quoted == nil {
		return "", nil
	}
	if quoted[0] != '"' {
		return "", fmt.Errorf("wire: %s is not a string", what)
	}
	text, sure := decodeText(quoted)
	if !sure {
		return "", fmt.Errorf("wire: %s is not well-formed text", what)
	}
	return text, nil
}

// check refuses what two readers could understand differently, because then a permission would be given for one and used for the other.
func (m Message) check() error {
	for _, what := range m.twice {
		switch {
		case what == "params.name" || what == "params.uri": // Target looks, where it matters
		case what == "params.requestId" && m.Method != methodCancelled:
		case what == "params.progressToken" && m.Method != methodProgress:
		default:
			return fmt.Errorf("wire: %s stands more than once, or is not well-formed text", what)
		}
	}
	switch {
	case m.method && m.Method == "":
		return fmt.Errorf("wire: the method is empty")
	case !m.method && !m.Response():
		return fmt.Errorf("wire: neither a method nor a result nor an error")
	case m.method && (m.result || m.failure):
		return fmt.Errorf("wire: a method and a result in one message")
	}
	if id := m.ID(); id != nil && !validKey(id) {
		return fmt.Errorf("wire: an id is a string or a number")
	}
	return nil
}

// validKey tells whether an id or a progress token is a string or a number.
func validKey(raw json.RawMessage) bool {
	return raw[0] == '"' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
}

// oneLine makes the line breaks between the tokens of a valid JSON text spaces. Inside strings there are none.
func oneLine(raw []byte) {
	for i, c := range raw {
		if c == '\n' || c == '\r' {
			raw[i] = ' '
		}
	}
}
