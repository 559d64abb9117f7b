package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

const (
	methodLevel       = "logging/setLevel"
	methodSubscribe   = "resources/subscribe"
	methodUnsubscribe = "resources/unsubscribe"
)

// session is all that made a legacy session what it is: enough to make it again. The zero session is none.
type session struct {
	initialize  json.RawMessage // as the client said it
	version     string          // that was agreed on
	features    map[string]json.RawMessage
	initialized bool
	roots       bool            // the client has said that its roots are others
	level       json.RawMessage // logging/setLevel, the last
	subscribed  []subscription
}

type subscription struct {
	uri string
	raw json.RawMessage
}

func (n *session) open() bool { return n.initialize != nil }

// learn notes what a response makes of the session, or says about tools. s.mu is held.
func (s *shim) learn(r *request, raw json.RawMessage) {
	switch r.method {
	case methodInitialize:
		var answer struct {
			Result struct {
				ProtocolVersion string                     `json:"protocolVersion"`
				Capabilities    map[string]json.RawMessage `json:"capabilities"`
			} `json:"result"`
		}
		if json.Unmarshal(raw, &answer) == nil {
			s.session = session{initialize: r.raw, version: answer.Result.ProtocolVersion, features: answer.Result.Capabilities}
		}
	case methodLevel:
		s.session.level = r.raw
	case methodSubscribe:
		s.session.drop(r.target)
		s.session.subscribed = append(s.session.subscribed, subscription{r.target, r.raw})
	case methodUnsubscribe:
		s.session.drop(r.target)
	case "tools/list":
		s.learnTools(raw)
	}
}

func (n *session) drop(uri string) {
	n.subscribed = slices.DeleteFunc(n.subscribed, func(x subscription) bool { return x.uri == uri })
}

// learnTools notes which tools say of themselves that they may be called again. s.mu is held.
func (s *shim) learnTools(raw json.RawMessage) {
	var answer struct {
		Result struct {
			Tools []struct {
				Name        string `json:"name"`
				Annotations struct {
					ReadOnly   bool `json:"readOnlyHint"`
					Idempotent bool `json:"idempotentHint"`
				} `json:"annotations"`
			} `json:"tools"`
		} `json:"result"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return
	}
	for _, t := range answer.Result.Tools {
		s.tools[t.Name] = t.Annotations.ReadOnly || t.Annotations.Idempotent
	}
}

// openTimeout bounds how long an instance may take to answer an initialize that is said again.
const openTimeout = time.Minute

// replay makes the session again on a fresh pipe. What the server says meanwhile is returned. An error that wraps ErrSessionEnded is final.
func (s *shim) replay(pipe wire.Pipe, n session) (early []json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, openTimeout)
	defer cancel()
	initialize, err := agreed(n.initialize, n.version)
	if err != nil {
		return nil, sessionEnded("its initialize cannot be said again: %v", err)
	}
	say := func(raw json.RawMessage, id string) error {
		m, err := wire.Scan(raw)
		if err != nil {
			return err
		}
		return pipe.Write(ctx, m.With(map[wire.Place]json.RawMessage{wire.PlaceID: json.RawMessage(id)}))
	}
	const first = `"toolbus-again"`
	if err := say(initialize, first); err != nil {
		return nil, err
	}
	for {
		raw, err := pipe.Read(ctx)
		if err != nil {
			return nil, err
		}
		m, err := wire.Scan(raw)
		if err != nil {
			continue
		}
		if !m.Response() || string(m.ID()) != first {
			early = append(early, raw)
			continue
		}
		var answer struct {
			Result struct{ ProtocolVersion string }
			Error  *wire.Error
		}
		switch err := json.Unmarshal(raw, &answer); {
		case err != nil:
			return nil, err
		case answer.Error != nil:
			return nil, answer.Error
		case answer.Result.ProtocolVersion != n.version:
			return nil, sessionEnded("the server that has the name now speaks %s, not %s", answer.Result.ProtocolVersion, n.version)
		}
		break
	}
	return early, s.restore(n, say, func(method string) error {
		return pipe.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"`+method+`"}`))
	})
}

// restore says what was said after initialize. Answers to it are nobody's: they have ids that the client does not know.
func (s *shim) restore(n session, say func(json.RawMessage, string) error, tell func(string) error) error {
	var errs []error
	if n.initialized {
		errs = append(errs, tell(methodInitialized))
	}
	if n.roots {
		errs = append(errs, tell(methodRoots))
	}
	if n.level != nil {
		errs = append(errs, say(n.level, `"toolbus-level"`))
	}
	for i, x := range n.subscribed {
		errs = append(errs, say(x.raw, `"toolbus-subscribe-`+strconv.Itoa(i)+`"`))
	}
	return errors.Join(errs...)
}

// agreed is an initialize that asks for the version that was agreed on: a newer server may otherwise choose another.
func agreed(initialize json.RawMessage, version string) (json.RawMessage, error) {
	var message, params map[string]json.RawMessage
	if err := json.Unmarshal(initialize, &message); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(message["params"], &params); err != nil || params == nil {
		return nil, fmt.Errorf("its params are no object: %w", err)
	}
	params["protocolVersion"], _ = json.Marshal(version)
	var err error
	if message["params"], err = json.Marshal(params); err != nil {
		return nil, err
	}
	return json.Marshal(message)
}

// renewed tells the client what may be different now.
func (s *shim) renewed(n session) {
	if !n.initialized {
		return
	}
	for _, feature := range []string{"tools", "resources", "prompts"} {
		if _, ok := n.features[feature]; ok {
			s.out.later(json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/` + feature + `/list_changed"}`))
		}
	}
	for _, x := range n.subscribed {
		uri, _ := json.Marshal(x.uri)
		s.out.later(json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":` + string(uri) + `}}`))
	}
}
