package aggregate

import "testing"

func TestAPathIsFoundAndReplaced(t *testing.T) {
	raw := []byte(`{"id": 1, "params" : {"ref":{"type":"ref/prompt","name": "a__b"},"x":[1,{"name":2}]}}`)
	s, at, ok := text(raw, "params", "ref", "name")
	if !ok || s != "a__b" || string(at.of(raw)) != `"a__b"` {
		t.Fatalf("%q at %v, %v", s, at, ok)
	}
	if got := string(replace(raw, at, quote("b"))); got != `{"id": 1, "params" : {"ref":{"type":"ref/prompt","name": "b"},"x":[1,{"name":2}]}}` {
		t.Error(got)
	}
	for _, bad := range []string{`{"params":{"ref":{"name":"a","name":"b"}}}`, `{"params":[]}`, `{"params":{"ref":{"name":1}}}`, `{}`, `x`} {
		if s, _, ok := text([]byte(bad), "params", "ref", "name"); ok {
			t.Errorf("%s: %q", bad, s)
		}
	}
}

func TestURIsAreRenamedWhereTheyAreURIs(t *testing.T) {
	other := map[string]string{"file:///x": "mcp+a:file:///x", `q"\`: "new"}
	for raw, want := range map[string]string{
		`{"uri":"file:///x","text":"file:///x"}`: `{"uri":"mcp+a:file:///x","text":"file:///x"}`,
		`{"content":[{"type":"resource","resource":{"uri" : "file:///x"}},{"uri":"file:///y"},"uri","file:///x"]}`: `{"content":[{"type":"resource","resource":{"uri" : "mcp+a:file:///x"}},{"uri":"file:///y"},"uri","file:///x"]}`,
		`{"a":{"uri":"q\"\\"},"uri":["file:///x"],"n":9007199254740993}`:                                           `{"a":{"uri":"new"},"uri":["file:///x"],"n":9007199254740993}`,
		`{"uri":{"uri":"file:\/\/\/x"}}`: `{"uri":{"uri":"mcp+a:file:///x"}}`,
		`{"n":1}`:                        `{"n":1}`,
	} {
		if got := string(renameURIs([]byte(raw), other)); got != want {
			t.Errorf("%s\n got %s\nwant %s", raw, got, want)
		}
	}
}
