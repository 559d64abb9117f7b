package registry

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// checkEntry holds what must be true of any decoded entry, whatever came in.
func checkEntry(t *testing.T, in kvstore.Entry, e *entry) {
	t.Helper()
	if e.key != in.Key || e.revision != in.Revision || e.ended != in.Tombstone() {
		t.Fatalf("decode(%+v) = %+v: key, revision or end is another", in, e)
	}
	if e.ended && (e.value != nil || e.session != "" || e.reason == "") {
		t.Fatalf("decode(%+v) = %+v: a tombstone holds something, or gives no reason", in, e)
	}
	if e.bad != "" && (e.value != nil || e.session != "") {
		t.Fatalf("decode(%+v) = %+v: a bad record holds something", in, e)
	}
	kind, rest := splitKey(in.Key)
	switch v := e.value.(type) {
	case nil:
	case *Lease:
		if kind != kindLease || v.Session != rest || v.Revision != in.Revision || e.session != v.Session {
			t.Fatalf("decode(%+v) = %+v", in, v)
		}
	case *Record:
		if kind != kindName || v.Name != rest || v.Session == "" || e.session != v.Session || v.Revision != in.Revision {
			t.Fatalf("decode(%+v) = %+v", in, v)
		}
		if in.Revision != 0 && (v.Token == 0 || v.Token > v.Revision) {
			t.Fatalf("decode(%+v): token %d at revision %d", in, v.Token, v.Revision)
		}
	case *Member:
		if kind != kindGroup || v.Group+"."+v.Instance != rest || v.Session == "" || e.session != v.Session || v.Revision != in.Revision {
			t.Fatalf("decode(%+v) = %+v", in, v)
		}
	case *Property:
		if kind != kindProperty || v.Session+"."+v.Key != rest || v.Session == "" || v.Key == "" || e.session != v.Session || v.Revision != in.Revision {
			t.Fatalf("decode(%+v) = %+v", in, v)
		}
	case *pulse:
		if in.Key != keyPulse && kind != keyPulse || v.revision != in.Revision {
			t.Fatalf("decode(%+v) = %+v", in, v)
		}
	default: // of another room: its own tests say what it holds; it is somebody's
		if e.session == "" {
			t.Fatalf("decode(%+v) = %T of nobody", in, v)
		}
	}
}

// stored is what decode kept of an entry, encoded again as who owns it would.
func stored(e *entry) []byte {
	switch v := e.value.(type) {
	case *Lease:
		return encode(leaseRecord{Lease: *v, V: recordVersion})
	case *Record:
		return encode(e.rewritten(nil))
	case *Member:
		return encode(groupRecord{Member: *v, Writer: e.writer, V: recordVersion})
	case *Property:
		return encode(propertyRecord{Property: *v, Writer: e.writer, V: recordVersion})
	case *pulse:
		return encode(v)
	}
	return nil
}

// FuzzRecord: decode never panics and never lets a record hold what its key does not say; what it keeps survives encoding, and the view
// takes all of it.
func FuzzRecord(f *testing.F) {
	lease := encode(leaseRecord{Lease: Lease{Session: "S1", Node: "n", Started: time.Unix(1, 0)}, V: recordVersion})
	name := encode(nameRecord{Record: Record{Name: "a.b", Session: "S1", Instance: "I1", Metadata: map[string]string{"k": "v"}}, V: recordVersion})
	member := encode(groupRecord{Member: Member{Group: "g.h", Session: "S1", Instance: "I1"}, V: recordVersion})
	for _, s := range []struct{ key, value string }{
		{"leases.S1", string(lease)}, {"names.a.b", string(name)}, {"groups.g.h.I1", string(member)}, {"pulse", string(encode(&pulse{Keeper: "P", Roll: 3}))},
		{"properties.S1.k", string(encode(propertyRecord{Property: Property{Session: "S1", Key: "k", Value: "v"}}))}, {"properties.S1.k.l", `{"session":"S1","key":"k.l"}`},
		{"properties.S1", "{}"}, {"names.other", string(name)}, {"leases.S2", string(lease)}, {"groups.g", string(member)}, {"groups.g.h", string(member)}, {"pulse", "null"},
		{"names.a.b", `{"name":"a.b","session":"S1","v":99,"news":[1,2]}`}, {"leases", "{}"}, {"leases.", `{}`}, {"names.", `{"session":"x"}`},
		{"pulse.x", "{}"}, {"standby.a.b", "{}"}, {"", ""}, {"names.a", "null"}, {"names.a.b", `{"name":"a.b","session":"S1","token":18446744073709551615}`},
	} {
		f.Add(s.key, []byte(s.value), uint64(7), uint8(0))
		f.Add(s.key, []byte(s.value), uint64(7), uint8(1))
		f.Add(s.key, []byte(s.value), uint64(7), uint8(2))
	}
	f.Fuzz(func(t *testing.T, key string, value []byte, revision uint64, op uint8) {
		in := kvstore.Entry{Key: key, Value: value, Revision: kvstore.Revision(revision), Operation: kvstore.Operation(op % 3)}
		e := decode(in)
		checkEntry(t, in, e)
		if again := stored(e); again != nil {
			in.Value = again
			e2 := decode(in)
			checkEntry(t, in, e2)
			if !reflect.DeepEqual(e, e2) && string(again) != string(stored(e2)) {
				t.Fatalf("%q: %s became %s", key, again, stored(e2))
			}
			if strings.ContainsRune(string(again), '\n') {
				t.Fatalf("%q: %q is not one line", key, again)
			}
		}
		v := newView()
		v.apply(kvstore.Step{Kind: kvstore.Snapshot, Log: "a"})
		v.apply(kvstore.Step{Entries: []kvstore.Entry{in}, Revision: in.Revision, Log: "a"})
		v.apply(kvstore.Step{Kind: kvstore.Snapshot, Entries: []kvstore.Entry{in}, Revision: in.Revision, Log: "b"})
		v.list()
		v.listLeases()
		v.orphans(10)
		v.pulse()
	})
}

// FuzzMessage: whatever a peer sends is taken apart without a panic.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"pulse":3,"process":"P","sessions":["S"]}`))
	f.Add([]byte(`{"session":"S"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, ok := unmarshal[answer](data)
		if again, ok2 := unmarshal[answer](encode(a)); ok && (!ok2 || a.Pulse != again.Pulse || len(a.Sessions) != len(again.Sessions)) {
			t.Fatalf("%s: %+v became %+v", data, a, again)
		}
		unmarshal[report](data)
	})
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{"pulse", "leases.S", "names.a.b", "groups.a.b.I", "groups.a", "groups.", "groups..", "", ".", "barrier.p"} {
		f.Add(s, "a.b", "I")
	}
	f.Fuzz(func(t *testing.T, key, name, instance string) {
		kind, rest := splitKey(key)
		if kind != key && kind+"."+rest != key {
			t.Fatalf("splitKey(%q) = %q, %q", key, kind, rest)
		}
		if group, inst, ok := splitGroup(rest); ok && (group == "" || inst == "" || group+"."+inst != rest || strings.Contains(inst, ".")) {
			t.Fatalf("splitGroup(%q) = %q, %q", rest, group, inst)
		}
		if _, err := ParseName(name); err != nil {
			return
		}
		if kind, rest := splitKey(nameKey(name)); kind != kindName || rest != name {
			t.Fatalf("splitKey of name %q = %q, %q", name, kind, rest)
		}
		if instance == "" || checkInstance(instance) != nil {
			return
		}
		if kind, rest := splitKey(leaseKey(instance)); kind != kindLease || rest != instance {
			t.Fatalf("splitKey of lease %q = %q, %q", instance, kind, rest)
		}
		kind, rest = splitKey(groupKey(name, instance))
		if group, inst, ok := splitGroup(rest); kind != kindGroup || !ok || group != name || inst != instance {
			t.Fatalf("member %q of %q became %q of %q", instance, name, inst, group)
		}
		if err := kvstore.CheckKey(groupKey(name, instance)); err != nil {
			t.Fatalf("member %q of %q: %v", instance, name, err)
		}
	})
}

// A record of a later version keeps its meaning for this one, and a tombstone of another tool has a reason.
func TestDecodeOthers(t *testing.T) {
	e := decode(kvstore.Entry{Key: "names.a", Value: []byte(`{"name":"a","session":"S","v":9,"more":{"x":1},"token":2}`), Revision: 5})
	rec, ok := e.value.(*Record)
	if !ok || e.bad != "" || rec.Token != 2 || rec.Revision != 5 {
		t.Errorf("a later version: %+v, %+v", e, rec)
	}
	e = decode(kvstore.Entry{Key: "names.a", Value: []byte("gone"), Revision: 6, Operation: kvstore.Delete})
	if e.reason != ReasonRemoved || !e.ended {
		t.Errorf("a foreign tombstone: %+v", e)
	}
	e = decode(kvstore.Entry{Key: "names.a", Revision: 6, Operation: kvstore.Expire})
	if e.reason != ReasonExpired || !e.ended {
		t.Errorf("an expiry: %+v", e)
	}
	for _, foreign := range []string{"later.a.I", "later.S.k", "barrier.p", "x"} {
		if e := decode(kvstore.Entry{Key: foreign, Value: []byte(`{"session":"S"}`), Revision: 1}); e.session != "" || e.value != nil || e.bad != "" {
			t.Errorf("%s is not ours: %+v", foreign, e)
		}
	}
	if !json.Valid(encode(tombstone{Reason: ReasonClosed, V: recordVersion})) {
		t.Error("a tombstone is no JSON")
	}
}
