package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/kvstore"
)

// republished is a message of the feed.
func republished(seq int, key string, extra ...string) *nats.Msg {
	h := nats.Header{"Nats-Stream": {"KV_toolbus_s"}, "Nats-Sequence": {strconv.Itoa(seq)}}
	for i := 0; i+1 < len(extra); i += 2 {
		h[extra[i]] = []string{extra[i+1]}
	}
	return &nats.Msg{Subject: "toolbus.feed.s." + key, Header: h, Data: []byte("v")}
}

func inBatch(seq int, key, id string, position int, commit bool) *nats.Msg {
	extra := []string{"Nats-Batch-Id", id, "Nats-Batch-Sequence", strconv.Itoa(position)}
	if commit {
		extra = append(extra, "Nats-Batch-Commit", "1")
	}
	return republished(seq, key, extra...)
}

func TestFeedTakes(t *testing.T) {
	foreign := republished(11, "k")
	foreign.Header["Nats-Stream"] = []string{"OTHER"}
	for _, tt := range []struct {
		name  string
		msgs  []*nats.Msg
		steps []int // how many entries each step has
		stale bool
	}{
		{"in order", []*nats.Msg{republished(11, "a"), republished(12, "b")}, []int{1, 1}, false},
		{"twice", []*nats.Msg{republished(11, "a"), republished(11, "a"), republished(10, "z"), republished(12, "b")}, []int{1, 1}, false},
		{"a gap", []*nats.Msg{republished(11, "a"), republished(13, "b")}, []int{1}, true},
		{"a batch", []*nats.Msg{inBatch(11, "a", "x", 1, false), inBatch(12, "b", "x", 2, false), inBatch(13, "c", "x", 3, true)}, []int{3}, false},
		{"a batch without its commit", []*nats.Msg{inBatch(11, "a", "x", 1, false), inBatch(12, "b", "x", 2, false)}, nil, false},
		{"another entry instead of the commit", []*nats.Msg{inBatch(11, "a", "x", 1, false), republished(12, "b")}, nil, true},
		{"another batch instead of the commit", []*nats.Msg{inBatch(11, "a", "x", 1, false), inBatch(12, "b", "y", 2, true)}, nil, true},
		{"the rest of a batch", []*nats.Msg{inBatch(11, "b", "x", 2, true)}, nil, true},
		{"two batches", []*nats.Msg{inBatch(11, "a", "x", 1, false), inBatch(12, "b", "x", 2, true), inBatch(13, "a", "y", 1, true)}, []int{2, 1}, false},
		{"not of this stream", []*nats.Msg{foreign, {Subject: "toolbus.feed.s.k"}, {Subject: "else"}, republished(0, "k")}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := kvstore.NewFeed("s", 10)
			var steps []int
			stale := false
			for _, msg := range tt.msgs {
				var step kvstore.Step
				var ok bool
				if step, ok, stale = f.Take(msg); ok {
					steps = append(steps, len(step.Entries))
				}
			}
			if fmt.Sprint(steps) != fmt.Sprint(tt.steps) || stale != tt.stale {
				t.Fatalf("steps %v stale %v, want %v %v", steps, stale, tt.steps, tt.stale)
			}
		})
	}
}

// A snapshot of many pages, taken while every key moves, lacks none of them and shows no batch in half.
func TestSnapshotsOfManyPagesAreExact(t *testing.T) {
	c := threeNodes(t)
	scope := scopeOf(t)
	ctx, cancel := context.WithCancel(within(t, time.Minute))
	defer cancel()
	s := openOn(t, dial(t, c.servers[0]), scope, nil)
	const pairs = 40
	var wg sync.WaitGroup
	var made sync.WaitGroup
	made.Add(4)
	for w := range 4 {
		wg.Go(func() {
			revs := make(map[int]kvstore.Revision)
			for i := 0; ctx.Err() == nil; i++ {
				p := w + 4*(i%(pairs/4))
				ops := []kvstore.Op{{Key: fmt.Sprintf("a.%d", p), Value: fmt.Append(nil, i)}, {Key: fmt.Sprintf("b.%d", p), Value: fmt.Append(nil, i)}}
				if last := revs[p]; last > 0 {
					ops[0].Revision, ops[1].Revision = last-1, last
				}
				rev, err := s.Batch(ctx, ops)
				if err != nil && ctx.Err() == nil && !errors.Is(err, kvstore.ErrBusy) {
					t.Errorf("writer %d: %v", w, err)
				}
				if err == nil {
					revs[p] = rev
				}
				if i == pairs/4-1 {
					made.Done()
				}
			}
		})
	}
	made.Wait()
	readers := make([]*kvstore.JetStream, 3)
	for i := range readers {
		readers[i] = openOn(t, dial(t, c.servers[i]), scope, nil)
		readers[i].SetPageMessages(23)
	}
	for i := range 30 {
		list, rev, err := readers[i%3].List(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		wantWhole(t, list, rev, pairs)
		if step := firstStep(t, readers[i%3]); true {
			wantWhole(t, step.Entries, step.Revision, pairs)
		}
	}
	cancel()
	wg.Wait()
}

func wantWhole(t *testing.T, entries []kvstore.Entry, rev kvstore.Revision, pairs int) {
	t.Helper()
	values := make(map[string]string)
	for _, e := range entries {
		values[e.Key] = string(e.Value)
	}
	for p := range pairs {
		a, okA := values[fmt.Sprintf("a.%d", p)]
		b, okB := values[fmt.Sprintf("b.%d", p)]
		if !okA || !okB || a != b {
			t.Fatalf("at %d: pair %d is %q (%v) and %q (%v)", rev, p, a, okA, b, okB)
		}
	}
}

func TestServersThatAreTooOld(t *testing.T) {
	for version, old := range map[string]bool{
		"2.14.4": false, "2.15.2": false, "3.0.0": false, "v2.14.10": false, "2.15.0-RC.1": false, "dev": false, "": false,
		"2.14.3": true, "2.9.99": true, "1.4.1": true, "2.14.3-beta": true,
	} {
		if err := kvstore.CheckServer(version); errors.Is(err, kvstore.ErrTooOld) != old || err == nil == old {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestAPIErrors(t *testing.T) {
	for _, tt := range []struct {
		code int
		text string
		want error
	}{
		{10071, "wrong last sequence: 1234567890123456", kvstore.ErrConflict},
		{10164, "wrong last sequence", kvstore.ErrConflict},
		{10210, "atomic publish too many inflight", kvstore.ErrBusy},
		{10176, "atomic publish batch is incomplete", kvstore.ErrBusy},
		{10158, "duplicate message id is in process", kvstore.ErrBusy},
		{10174, "atomic publish is disabled", kvstore.ErrForeign},
		{10199, "atomic publish batch is too large: 10", kvstore.ErrBatchTooLarge},
		{10054, "message size exceeds maximum allowed", kvstore.ErrTooLarge},
		{10008, "JetStream system temporarily unavailable", kvstore.ErrUnavailable},
		{10077, "maximum bytes exceeded", kvstore.ErrUnavailable},
		{4711, "what nobody knows", kvstore.ErrUnavailable},
	} {
		if err := kvstore.TranslateAPIError(tt.code, tt.text); !errors.Is(err, tt.want) {
			t.Errorf("%d: %v, want %v", tt.code, err, tt.want)
		}
	}
	c, _ := errors.AsType[*kvstore.ConflictError](kvstore.TranslateAPIError(10071, "wrong last sequence: 1234567890123456"))
	if c.Actual != 1234567890123456 {
		t.Fatalf("actual %d", c.Actual)
	}
}
