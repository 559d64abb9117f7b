package registry

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// What is stored is one line that anybody can read, name and node first. It has no token and no revision that is not one; who reads it has both.
func TestStoredRecords(t *testing.T) {
	since := time.Unix(1, 0).UTC()
	for _, c := range []struct {
		key, want string
		value     []byte
	}{
		{"names.a", `{"name":"a","node":"n1","session":"S","instance":"I","since":"1970-01-01T00:00:01Z","writer":"W","v":1}`,
			encode(nameRecord{Record: Record{Name: "a", Node: "n1", Session: "S", Instance: "I", Since: since}, Writer: "W", V: recordVersion})},
		{"names.a", `{"name":"a","node":"n1","session":"S","instance":"I","since":"1970-01-01T00:00:01Z","writer":"W","v":1,"token":7}`,
			encode(nameRecord{Record: Record{Name: "a", Node: "n1", Session: "S", Instance: "I", Since: since, Token: 7, Revision: 9}, Writer: "W", V: recordVersion})},
		{"groups.g.I", `{"group":"g","node":"n1","session":"S","instance":"I","since":"1970-01-01T00:00:01Z","writer":"W","v":1}`,
			encode(groupRecord{Member: Member{Group: "g", Node: "n1", Session: "S", Instance: "I", Since: since}, Writer: "W", V: recordVersion})},
		{"standby.a.I", `{"name":"a","node":"n1","session":"S","instance":"I","since":"1970-01-01T00:00:01Z","writer":"W","v":1,"place":5}`,
			encode(waitRecord{Waiting: Waiting{Name: "a", Node: "n1", Session: "S", Instance: "I", Since: since, Place: 5}, Writer: "W", V: recordVersion})},
		{"replicas.a.I", `{"name":"a","node":"n1","session":"S","instance":"I","since":"1970-01-01T00:00:01Z","digest":"d","writer":"W","v":1}`,
			encode(replicaRecord{Replica: Replica{Name: "a", Node: "n1", Session: "S", Instance: "I", Since: since, Digest: "d"}, Writer: "W", V: recordVersion})},
		{"properties.S.k", `{"session":"S","node":"n1","key":"k","value":"v","writer":"W","v":1}`,
			encode(propertyRecord{Property: Property{Session: "S", Node: "n1", Key: "k", Value: "v"}, Writer: "W", V: recordVersion})},
	} {
		if string(c.value) != c.want {
			t.Errorf("stored:\n%s, want\n%s", c.value, c.want)
		}
		e := decode(kvstore.Entry{Key: c.key, Value: c.value, Revision: 11})
		shown := string(encode(e.value))
		if e.bad != "" || !strings.Contains(shown, `"revision":11`) {
			t.Errorf("read: %s %s", shown, e.bad)
		}
		if want := `"token":11`; strings.HasPrefix(c.key, "names") && !strings.Contains(c.want, "token") && !strings.Contains(shown, want) {
			t.Errorf("read: %s, want %s", shown, want)
		}
	}
}

// What of a record this version does not know is there still when it has written the record again, and no more than that.
func TestRecordsOfLaterVersions(t *testing.T) {
	for _, c := range []struct{ what, value, want string }{
		{"fields", `{"name":"a","session":"S","v":1,"later":{"x":[1,{"name":"b"}],"y":"},\""},"more":null}`, `,"later":{"x":[1,{"name":"b"}],"y":"},\""},"more":null`},
		{"many lines", "{ \"name\" : \"a\",\n\t\"session\":\"S\" , \"later\" :\n [ 1 ] }", `,"later":[1]`},
		{"an escaped key", `{"name":"a","session":"S","la\u0074er":true,"na\u006de":"a"}`, `,"la\u0074er":true`},
		{"a known one in another case", `{"Name":"a","session":"S","\u017feSSion":"S","TOKEN":1}`, ``},
		{"large numbers", `{"name":"a","session":"S","n":123456789012345678901234567890.10}`, `,"n":123456789012345678901234567890.10`},
		{"nothing", `{"name":"a","session":"S","from":"T","why":"x","revision":0}`, ``},
	} {
		e := decode(kvstore.Entry{Key: "names.a", Value: []byte(c.value), Revision: 3})
		if e.bad != "" {
			t.Fatalf("%s: %s", c.what, e.bad)
		}
		rec, _ := recordOf(e)
		changed := *rec
		changed.Kind = "new"
		again := encode(e.rewritten(&changed))
		_, after, _ := strings.Cut(string(again), `,"token":`)
		if _, after, _ = strings.Cut(after[:len(after)-1], ","); after != strings.TrimPrefix(c.want, ",") {
			t.Errorf("%s: kept %q, want %q, in %s", c.what, after, c.want, again)
		}
		if !json.Valid(again) || strings.ContainsAny(string(again), "\n\t") {
			t.Errorf("%s: not one line of JSON: %q", c.what, again)
		}
		e2 := decode(kvstore.Entry{Key: "names.a", Value: again, Revision: 4})
		if rec2, ok := recordOf(e2); !ok || rec2.Kind != "new" || rec2.Token != rec.Token || rec2.Session != rec.Session {
			t.Errorf("%s: %s is read as %+v", c.what, again, rec2)
		}
	}
	if e := decode(kvstore.Entry{Key: "names.a", Value: []byte(`{"name":"a","session":"S","v":9}`), Revision: 3}); e.rewritten(nil).V != 9 {
		t.Errorf("a record of version 9 became one of %d", e.rewritten(nil).V)
	}
}

func BenchmarkDecodeName(b *testing.B) {
	e := put(nameKey("a.b"), encode(nameRecord{Record: Record{
		Name: "a.b", Node: "node-1", Session: "S0123456789", Instance: "I1", Kind: "stdio", Host: "h", PID: 7, Since: time.Unix(1, 0), Metadata: map[string]string{"k": "v"},
	}, Writer: "W0123456789", V: recordVersion}))
	e.Revision = 5
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			decode(e)
		}
	})
	b.Run("unknown", func(b *testing.B) {
		for b.Loop() {
			laterOf(e.Value, recordVersion, nameFields)
		}
	})
}
