package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestScanFindsWhatItNeeds(t *testing.T) {
	raw := `{"jsonrpc":"2.0","id":9007199254740993,"extra":{"id":1,"method":"no"},"params":{"arguments":{"name":"inner","uri":"u"},` +
		`"name":"ech\u006f","_meta":{"progressToken":1.5,"io.modelcontextprotocol/protocolVersion":"2026-07-28","x":[{}]}},"method":"tools/call"}`
	m, err := Scan(json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	target, err := m.Target()
	if m.Method != "tools/call" || target != "echo" || err != nil || string(m.ID()) != "9007199254740993" ||
		m.Version != "2026-07-28" || string(m.metaToken.of(m.Raw)) != "1.5" || !m.Request() || m.Response() || m.Notification() {
		t.Errorf("scanned %+v, target %q, %v", m, target, err)
	}
	if err := m.check(); err != nil {
		t.Error(err)
	}
	got := splice(m.Raw, edit{m.metaToken, []byte("7")}, edit{m.id, []byte(`"a"`)})
	want := strings.Replace(strings.Replace(raw, "9007199254740993", `"a"`, 1), "1.5", "7", 1)
	if string(got) != want {
		t.Errorf("spliced\n%s, want\n%s", got, want)
	}
}

func TestScanRefusesTwoMeanings(t *testing.T) {
	for _, raw := range []string{
		`{"method":"tools/call","method":"tools/list","id":1}`,
		`{"method":"tools/call","Method":"tools/list","id":1}`,
		`{"method":"tools/call","id":1,"id":2}`,
		`{"method":"tools/call","id":1,"params":{"name":"safe"},"params":{"name":"danger"}}`,
		`{"method":"tools/call","id":1,"params":{"name":"safe"},"PARAMS":{"name":"danger"}}`,
		`{"method":"tools/call","id":1,"params":{"name":"safe","name":"danger"}}`,
		`{"method":"tools/call","id":1,"params":{"name":"safe","n\u0061me":"danger"}}`,
		`{"method":"tools/call","id":1,"params":{"Name":"danger"}}`,
		`{"method":"tools/call","id":1,"params":{"name":"a\ud800"}}`,
		"{\"method\":\"tools/call\",\"id\":1,\"params\":{\"name\":\"a\xff\"}}",
		`{"method":"tools/call","id":1,"params":{"name":["a"]}}`,
		`{"method":"resources/read","id":1,"params":{"uri":"a","Uri":"b"}}`,
		`{"method":"resources/read","id":1,"params":{"uri":"a","_meta":{},"_meta":{}}}`,
		`{"method":"tools/call\ud800","id":1}`,
		`{"method":"x","id":1,"params":{"_meta":{"progressToken":1,"progresstoken":2}}}`,
		`{"method":"x","id":{}}`, `{"method":"x","id":null}`, `{"method":"","id":1}`, `{"id":1}`, `{"method":"x","id":1,"result":{}}`,
		"{\"method\":\"tools/call\",\"id\":1,\"params\":{\"name\":\"x\",\"_meta\":{\"progressTo\u212aen\":1}}}", // the Kelvin sign folds to k
	} {
		m, err := Scan(json.RawMessage(raw))
		if err == nil {
			err = m.check()
		}
		if err == nil {
			_, err = m.Target()
		}
		if err == nil {
			t.Errorf("%s was taken", raw)
		}
	}
	for _, raw := range []string{
		`{"method":"vendor/x","id":1,"params":{"name":"a","Name":"b","URI":1}}`, // nothing is decided by these
		`{"method":"tools/call","id":1,"params":{"name":"a","arguments":{"name":"b","NAME":"c"}}}`,
		`{"jsonrpc":"2.0","result":{"id":2,"name":1},"id":"x"}`,
		`{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}`,
		`{"method":"notifications/initialized"}`,
	} {
		m, err := Scan(json.RawMessage(raw))
		if err == nil {
			err = m.check()
		}
		if err == nil {
			_, err = m.Target()
		}
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestScanPutsAMessageOnOneLine(t *testing.T) {
	m, err := Scan(json.RawMessage("{\n \"method\" :\r\n\"x\",\n\"params\":{\"a\":[1,\n2,\"\\n\"]}}\n"))
	if err != nil || strings.ContainsAny(string(m.Raw), "\r\n") || !json.Valid(m.Raw) || !strings.Contains(string(m.Raw), `"\n"`) {
		t.Errorf("%q, %v", m.Raw, err)
	}
}

func TestWithMeta(t *testing.T) {
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"V","io.modelcontextprotocol/clientCapabilities":{}`
	for raw, want := range map[string]string{
		`{"method":"m","id":1}`:                              `{"params":{` + meta + `}},"method":"m","id":1}`,
		`{"method":"m","id":1,"params":{}}`:                  `{"method":"m","id":1,"params":{` + meta + `}}}`,
		`{"params":{"a":1},"method":"m","id":1}`:             `{"params":{` + meta + `},"a":1},"method":"m","id":1}`,
		`{"method":"m","params":{"_meta":{"k":2}},"id":1}`:   `{"method":"m","params":{` + meta + `,"k":2}},"id":1}`,
		`{"method":"m","params":{"_meta":{} },"id":1}`:       `{"method":"m","params":{` + meta + `} },"id":1}`,
		`{"method":"m","params":[1]}`:                        `{"method":"m","params":[1]}`,
		`{"method":"m","params":{` + meta + `}},"id":1}`:     `{"method":"m","params":{` + meta + `}},"id":1}`,
		`{"method":"m","params":{"_meta":null},"id":"keep"}`: `{"method":"m","params":{"_meta":null},"id":"keep"}`,
	} {
		m, err := Scan(json.RawMessage(raw))
		if err != nil {
			t.Fatal(raw, err)
		}
		if got := m.WithMeta("V"); string(got) != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", raw, got, want)
		}
	}
}

// FuzzScan holds the scanner against encoding/json: both take the same texts, and see the same in them where it is not in doubt.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"progressToken":"p"}}}`,
		`{"id":9007199254740993,"result":{"a":[1,2,{"b":null}],"c":-0.5e+3}}`,
		`{"method":"resources/read","params":{"uri":"file:///a\u00e9"},"id":"x"}`, ` {"id" : 01}`, `[1]`, `{"a":[}`, `{"a":"\x"}`, "{\"a\":\"\n\"}",
		`{"method":"notifications/cancelled","params":{"requestId":1e2}}`, `{"a":{},"b":[],"c":[[],{}]}`, `{"id":-}`, `{"a":1,}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var object map[string]json.RawMessage
		valid := json.Unmarshal(raw, &object) == nil && object != nil
		m, err := Scan(append([]byte(nil), raw...))
		if err == nil && !valid || err != nil && strings.HasPrefix(err.Error(), errSyntax.Error()) && valid {
			t.Fatalf("Scan: %v; encoding/json: %v", err, valid)
		}
		if err != nil || len(m.twice) > 0 {
			return
		}
		if got, want := strings.TrimSpace(string(m.ID())), strings.TrimSpace(oneLineOf(object["id"])); got != want {
			t.Fatalf("id %q, want %q", got, want)
		}
		var method string
		if json.Unmarshal(object["method"], &method) == nil && object["method"] != nil && string(object["method"]) != "null" && method != m.Method {
			t.Fatalf("method %q, want %q", m.Method, method)
		}
		var params map[string]json.RawMessage
		if json.Unmarshal(object["params"], &params) == nil {
			for key, at := range map[string]span{"name": m.name, "uri": m.uri, "requestId": m.requestID, "progressToken": m.paramsToken} {
				if got, want := string(at.of(m.Raw)), oneLineOf(params[key]); got != want {
					t.Fatalf("params.%s %q, want %q", key, got, want)
				}
			}
		}
		if m.id.to > 0 {
			changed := splice(m.Raw, edit{m.id, []byte("77")})
			again, err := Scan(changed)
			if err != nil || string(again.ID()) != "77" || !json.Valid(changed) || again.Method != m.Method {
				t.Fatalf("with another id: %s, %v", changed, err)
			}
		}
		if filled := m.WithMeta("v"); !json.Valid(filled) {
			t.Fatalf("with _meta: %s", filled)
		}
	})
}

func oneLineOf(raw json.RawMessage) string {
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(string(raw))
}
