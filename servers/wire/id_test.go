package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/servers/wire"
)

// rounding answers as a server whose JSON library knows only float64: ids and tokens go through it.
func rounding(say wire.Pipe, n int, m message) {
	var in struct {
		ID     any
		Method string
		Params struct {
			Meta      struct{ ProgressToken any } `json:"_meta"`
			RequestID any                         `json:"requestId"`
		}
	}
	if err := json.Unmarshal([]byte(m.raw), &in); err != nil || in.ID == nil {
		return
	}
	if token := in.Params.Meta.ProgressToken; token != nil {
		out, _ := json.Marshal(token)
		write(say, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`, out)
	}
	id, _ := json.Marshal(in.ID)
	write(say, `{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
}

func TestIdsSurviveAServerThatRoundsThem(t *testing.T) {
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "shared", Instance: "I1"}, &fake{handle: rounding})
	s.serve(t, wire.ServeOptions{Name: "single", Instance: "I2"}, single{&fake{handle: rounding}})
	session := s.dial(t, wire.Target{Name: "shared"})
	open(t, session)
	for name, p := range map[string]wire.Pipe{"session": session, "shared": s.dial(t, wire.Target{Name: "shared"}), "single": s.dial(t, wire.Target{Name: "single"})} {
		for _, id := range []string{`9007199254740993`, `1.0`, `-0`, `1e3`, `123456789012345678901234567890`, `"a\/b"`, `"\u00e9<"`, `"toolbus-1"`} {
			say(t, p, `{"jsonrpc":"2.0","id":%s,"method":"m","params":{"_meta":{"progressToken":%s}}}`, id, id)
			if m := hear(t, p); !strings.Contains(m.raw, fmt.Sprintf(`"progressToken":%s,`, id)) {
				t.Errorf("%s: progress of %s: %s", name, id, m.raw)
			}
			if m := hear(t, p); string(m.ID) != id {
				t.Errorf("%s: id %s came back in %s", name, id, m.raw)
			}
		}
	}
}
