package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestWithKeepsEveryOtherByte(t *testing.T) {
	const msg = ` { "jsonrpc" : "2.0", "id" : 9007199254740993 ,"x":{"id":1}, "method":"m", "params":{"id":2,"_meta" : {"progressToken": "a\u00e9" ,"y":1.50}, "progressToken":null} } `
	m, err := Scan(json.RawMessage(msg))
	if err != nil {
		t.Fatal(err)
	}
	for place, want := range map[Place]string{PlaceID: "9007199254740993", PlaceToken: `"a\u00e9"`, PlaceProgress: "null", PlaceCancelled: "", PlaceSubscription: "", 99: ""} {
		if got := string(m.At(place)); got != want {
			t.Errorf("at %d stands %q, want %q", place, got, want)
		}
	}
	got := m.With(map[Place]json.RawMessage{PlaceID: json.RawMessage(`"t1"`), PlaceToken: json.RawMessage("2"), PlaceCancelled: json.RawMessage("7")})
	want := strings.NewReplacer("9007199254740993", `"t1"`, `"a\u00e9"`, "2").Replace(msg)
	if string(got) != want || string(m.Raw) != msg {
		t.Errorf("got  %s\nwant %s\nfrom %s", got, want, m.Raw)
	}
}

func TestUnattended(t *testing.T) {
	for request, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1.0,"method":"ping"}`:       `{"jsonrpc":"2.0","id":1.0,"result":{}}`,
		`{"jsonrpc":"2.0","id":"x","method":"roots/list"}`: `{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"roots/list: no client stands behind this conversation"}}`,
	} {
		m, err := Scan(json.RawMessage(request))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(Unattended(m)); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func TestTheTargetIsAPlace(t *testing.T) {
	m, err := Scan(json.RawMessage(`{"method":"tools/call","id":1,"params":{"arguments":{"name":"n","uri":"u"},"name":"a__x", "uri":"y:z"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := m.With(map[Place]json.RawMessage{PlaceName: json.RawMessage(`"x"`), PlaceURI: json.RawMessage(`"z"`)})
	if want := `{"method":"tools/call","id":1,"params":{"arguments":{"name":"n","uri":"u"},"name":"x", "uri":"z"}}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
