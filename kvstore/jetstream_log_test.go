package kvstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/kvstore"
)

// jsOn is the stock API, as other tools use it.
func jsOn(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A log is a bucket for the stock tools: they list, read and follow it, and see a delete as one.
func TestStockToolsReadTheLog(t *testing.T) {
	nc := dial(t, oneNode(t))
	scope := scopeOf(t)
	s := openOn(t, nc, scope, &kvstore.JetStreamOptions{Metadata: map[string]string{"toolbus.ttl": "6s"}})
	ctx := within(t, 20*time.Second)
	rev := must[kvstore.Revision](t)(s.Create(ctx, "names.calc", []byte(`{"v":1}`), time.Minute))
	dead := must[kvstore.Revision](t)(s.Create(ctx, "names.dead", []byte("v"), 0))
	must[kvstore.Revision](t)(s.Delete(ctx, "names.dead", []byte("why"), dead))

	kv := must[jetstream.KeyValue](t)(jsOn(t, nc).KeyValue(ctx, "toolbus_"+scope))
	keys := must[[]string](t)(kv.Keys(ctx))
	if len(keys) != 1 || keys[0] != "names.calc" {
		t.Fatalf("keys %v", keys)
	}
	e := must[jetstream.KeyValueEntry](t)(kv.Get(ctx, "names.calc"))
	if string(e.Value()) != `{"v":1}` || e.Revision() != uint64(rev) {
		t.Fatalf("%q at %d", e.Value(), e.Revision())
	}
	if _, err := kv.Get(ctx, "names.dead"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Fatalf("a deleted key: %v", err)
	}
	info := must[kvstore.Info](t)(s.Info(ctx))
	if !info.Exists || info.Replicas != 1 || info.Metadata["toolbus.ttl"] != "6s" || len(info.Metadata) != 1 || len(info.Warnings) != 0 {
		t.Fatalf("info %+v", info)
	}
	if step := firstStep(t, s); !maps.Equal(step.Metadata, info.Metadata) {
		t.Fatalf("metadata %v", step.Metadata)
	}
	// What a stock client writes is an entry like any other.
	must[uint64](t)(kv.Put(ctx, "by.hand", []byte("x")))
	if err := kv.Delete(ctx, "by.hand"); err != nil {
		t.Fatal(err)
	}
	for _, e := range firstStep(t, s).Entries {
		if e.Key == "by.hand" && e.Operation != kvstore.Delete {
			t.Fatalf("%+v", e)
		}
	}
}

func TestOpenMakesNothing(t *testing.T) {
	nc := dial(t, oneNode(t))
	scope := scopeOf(t)
	s := openOn(t, nc, scope, nil)
	ctx := within(t, 20*time.Second)
	firstStep(t, s)
	if _, _, err := s.List(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, "k", nil, 5, 0); !errors.Is(err, kvstore.ErrConflict) {
		t.Fatal(err)
	}
	info := must[kvstore.Info](t)(s.Info(ctx))
	if info.Exists {
		t.Fatal("a reader made the bucket")
	}
	if err := s.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	info = must[kvstore.Info](t)(s.Info(ctx))
	if !info.Exists || info.Last < kvstore.Revision(time.Now().Add(-time.Minute).UnixMilli())*1000 {
		t.Fatalf("info %+v", info)
	}
	if step := firstStep(t, s); step.Log == "" || step.Revision != info.Last || len(step.Entries) != 0 {
		t.Fatalf("an empty log: %+v", step)
	}
	for _, bad := range []string{"", "a.b", "a b", "*", strings.Repeat("x", 65)} {
		if _, err := kvstore.OpenJetStream(ctx, nc, bad, nil); !errors.Is(err, kvstore.ErrBadScope) {
			t.Fatalf("scope %q: %v", bad, err)
		}
	}
}

// A bucket that somebody made by hand under our name is left alone.
func TestForeignBucket(t *testing.T) {
	nc := dial(t, oneNode(t))
	ctx := within(t, 20*time.Second)
	js := jsOn(t, nc)
	scope := scopeOf(t)
	kv := must[jetstream.KeyValue](t)(js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "toolbus_" + scope}))
	must[uint64](t)(kv.Put(ctx, "k", []byte("theirs")))
	other := scopeOf(t)
	must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_toolbus_" + other, Subjects: []string{"else." + other}}))
	for _, scope := range []string{scope, other} {
		s := openOn(t, nc, scope, nil)
		if _, err := s.Create(ctx, "l", nil, 0); !errors.Is(err, kvstore.ErrForeign) {
			t.Fatalf("create: %v", err)
		}
		if err := s.Ensure(ctx); !errors.Is(err, kvstore.ErrForeign) {
			t.Fatalf("ensure: %v", err)
		}
		if _, _, err := s.List(ctx, ""); !errors.Is(err, kvstore.ErrForeign) {
			t.Fatalf("list: %v", err)
		}
		for _, err := range s.Watch(ctx, nil) {
			if !errors.Is(err, kvstore.ErrForeign) {
				t.Fatalf("watch: %v", err)
			}
		}
		if info := must[kvstore.Info](t)(s.Info(ctx)); len(info.Warnings) == 0 {
			t.Fatal("no warning")
		}
	}
	if e := must[jetstream.KeyValueEntry](t)(kv.Get(ctx, "k")); string(e.Value()) != "theirs" {
		t.Fatal("it was touched")
	}
}

// nats kv edit resets every flag that it does not know, atomic batches and the feed among them, in silence. The next
// check finds it and puts it back, and the watch has what was written meanwhile.
func TestConfigurationChangedByHand(t *testing.T) {
	nc := dial(t, oneNode(t))
	ctx := within(t, 30*time.Second)
	scope := scopeOf(t)
	s := openOn(t, nc, scope, &kvstore.JetStreamOptions{Metadata: map[string]string{"toolbus.ttl": "6s"}})
	rev := must[kvstore.Revision](t)(s.Create(ctx, "k", nil, 0))
	checks := make(chan kvstore.Check, 1)
	view := viewOf(t, s, checks)
	view.wait(t, rev)

	js := jsOn(t, nc)
	stream := must[jetstream.Stream](t)(js.Stream(ctx, "KV_toolbus_"+scope))
	config := stream.CachedInfo().Config
	config.AllowAtomicPublish, config.RePublish, config.Metadata, config.SubjectDeleteMarkerTTL = false, nil, nil, 0
	must[jetstream.Stream](t)(js.UpdateStream(ctx, config))
	if _, err := s.Batch(ctx, []kvstore.Op{{Key: "a"}, {Key: "b"}}); !errors.Is(err, kvstore.ErrForeign) {
		t.Fatalf("a batch on a stream without batches: %v", err)
	}
	silent := must[kvstore.Revision](t)(s.Create(ctx, "silent", nil, 0))
	if info := must[kvstore.Info](t)(s.Info(ctx)); len(info.Warnings) == 0 {
		t.Fatal("no warning")
	}
	checks <- kvstore.CheckTail
	view.wait(t, silent)
	last := must[kvstore.Revision](t)(s.Batch(ctx, []kvstore.Op{{Key: "a"}, {Key: "b"}}))
	view.wait(t, last)
	info := must[kvstore.Info](t)(s.Info(ctx))
	if len(info.Warnings) != 0 || info.Metadata["toolbus.ttl"] != "6s" {
		t.Fatalf("after the repair: %+v", info)
	}
}

// The stock API's own update, which is what nats kv edit does.
func TestConfigurationResetByKeyValueUpdate(t *testing.T) {
	nc := dial(t, oneNode(t))
	ctx := within(t, 30*time.Second)
	scope := scopeOf(t)
	s := openOn(t, nc, scope, nil)
	rev := must[kvstore.Revision](t)(s.Create(ctx, "k", nil, 0))
	edit := jetstream.KeyValueConfig{Bucket: "toolbus_" + scope, History: 1, Description: "edited", LimitMarkerTTL: time.Hour}
	must[jetstream.KeyValue](t)(jsOn(t, nc).UpdateKeyValue(ctx, edit))
	if info := must[kvstore.Info](t)(s.Info(ctx)); len(info.Warnings) == 0 {
		t.Fatal("it resets nothing any longer: is this test still needed?")
	}
	if err := s.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	last := must[kvstore.Revision](t)(s.Batch(ctx, []kvstore.Op{{Key: "a"}, {Key: "b"}}))
	if last != rev+2 {
		t.Fatalf("revision %d after %d", last, rev)
	}
	if info := must[kvstore.Info](t)(s.Info(ctx)); len(info.Warnings) != 0 {
		t.Fatalf("%v", info.Warnings)
	}
}

// A purge leaves no entry: only a check of all notices.
func TestPurgeByHand(t *testing.T) {
	nc := dial(t, oneNode(t))
	ctx := within(t, 30*time.Second)
	scope := scopeOf(t)
	s := openOn(t, nc, scope, nil)
	must[kvstore.Revision](t)(s.Create(ctx, "a", nil, 0))
	rev := must[kvstore.Revision](t)(s.Create(ctx, "b", nil, 0))
	checks := make(chan kvstore.Check, 1)
	view := viewOf(t, s, checks)
	view.wait(t, rev)
	stream := must[jetstream.Stream](t)(jsOn(t, nc).Stream(ctx, "KV_toolbus_"+scope))
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject("$KV.toolbus_"+scope+".b")); err != nil {
		t.Fatal(err)
	}
	// The log's newest entry has vanished: a fresh reader must not wait for it.
	reader := openOn(t, dial(t, oneNode(t)), scope, nil)
	list, at, err := reader.List(ctx, "")
	if err != nil || len(list) != 1 || at != rev {
		t.Fatalf("%d entries at %d, %v; want 1 at %d", len(list), at, err, rev)
	}
	checks <- kvstore.CheckAll
	view.until(t, "b is gone", func() bool { return !view.has("b") && view.has("a") })
	view.wait(t, must[kvstore.Revision](t)(s.Create(ctx, "c", nil, 0)))
}

// The end of a tombstone leaves neither a marker nor an entry; the end of a TTL leaves a marker that lives as long as a tombstone.
func TestTombstonesLeaveNoMarker(t *testing.T) {
	nc := dial(t, oneNode(t))
	ctx := within(t, 30*time.Second)
	scope := scopeOf(t)
	s := openOn(t, nc, scope, nil)
	rev := must[kvstore.Revision](t)(s.Create(ctx, "k", nil, 0))
	dead := must[kvstore.Revision](t)(s.Delete(ctx, "k", []byte("why"), rev))
	stream := must[jetstream.Stream](t)(jsOn(t, nc).Stream(ctx, "KV_toolbus_"+scope))
	msg := must[*jetstream.RawStreamMsg](t)(stream.GetMsg(ctx, uint64(dead)))
	if ttl := msg.Header.Get("Nats-TTL"); ttl != fmt.Sprint(int(kvstore.TombstoneTTL/time.Second)) {
		t.Fatalf("a tombstone's TTL is %q", ttl)
	}
	if op := msg.Header.Get("KV-Operation"); op != "PURGE" {
		t.Fatalf("a tombstone is a %q: the server would leave a marker behind it", op)
	}
	// The same message with a TTL that a test can wait for.
	short := nats.NewMsg("$KV.toolbus_" + scope + ".k")
	short.Header = nats.Header{"KV-Operation": {"PURGE"}, "Nats-TTL": {"1"}}
	must[*jetstream.PubAck](t)(jsOn(t, nc).PublishMsg(ctx, short))
	expiring := must[kvstore.Revision](t)(s.Create(ctx, "e", nil, time.Second))
	poll(t, "both ends", func() bool {
		entries := firstStep(t, s).Entries
		return len(entries) == 1 && entries[0].Key == "e" && entries[0].Operation == kvstore.Expire
	})
	if next := must[kvstore.Revision](t)(s.Create(ctx, "k", nil, 0)); next != expiring+2 {
		t.Fatalf("revision %d after %d: the tombstone's end took one", next, expiring)
	}
	marker := must[*jetstream.RawStreamMsg](t)(stream.GetLastMsgForSubject(ctx, "$KV.toolbus_"+scope+".e"))
	if ttl := must[time.Duration](t)(time.ParseDuration(marker.Header.Get("Nats-TTL"))); ttl != kvstore.TombstoneTTL {
		t.Fatalf("the marker lives %v", ttl)
	}
}

// A log that was deleted is seen by the next check, without a write that would make it again.
func TestDeletedLogIsSeen(t *testing.T) {
	nc := dial(t, oneNode(t))
	ctx := within(t, 30*time.Second)
	scope := scopeOf(t)
	s := openOn(t, nc, scope, nil)
	rev := must[kvstore.Revision](t)(s.Create(ctx, "k", bytes.Repeat([]byte("x"), 100), 0))
	for _, check := range []kvstore.Check{kvstore.CheckTail, kvstore.CheckAll} {
		checks := make(chan kvstore.Check, 1)
		view := viewOf(t, s, checks)
		view.wait(t, rev)
		if err := jsOn(t, nc).DeleteStream(ctx, "KV_toolbus_"+scope); err != nil {
			t.Fatal(err)
		}
		checks <- check
		view.until(t, "there is no log", func() bool { return view.log() == "" && !view.has("k") })
		if info := must[kvstore.Info](t)(s.Info(ctx)); info.Exists {
			t.Fatal("the watch made the log anew")
		}
		next := must[kvstore.Revision](t)(s.Create(ctx, "k", nil, 0))
		if next <= rev {
			t.Fatalf("revision %d after %d", next, rev)
		}
		view.wait(t, next)
		rev = next
	}
}
