package kvstore_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/kvstore/kvtest"
)

func TestMemoryHistoryContract(t *testing.T) {
	suite := &kvtest.History{
		Open: func(_ *testing.T, opts *kvstore.HistoryOptions) kvstore.History {
			return kvstore.NewMemoryHistory(opts)
		},
		In: synctest.Test,
	}
	suite.Run(t)
}

func TestJetStreamHistoryContract(t *testing.T) {
	t.Run("one node", func(t *testing.T) {
		node := oneNode(t)
		historyOn(func(int) *server.Server { return node }).Run(t)
	})
	t.Run("three nodes", func(t *testing.T) {
		c := threeNodes(t)
		historyOn(func(i int) *server.Server { return c.servers[i%3] }).Run(t)
	})
}

func historyOn(pick func(int) *server.Server) *kvtest.History {
	var mu sync.Mutex
	n := 0
	scopes := map[kvstore.History]string{}
	open := func(t *testing.T, scope string, opts *kvstore.HistoryOptions) kvstore.History {
		mu.Lock()
		defer mu.Unlock()
		n++
		h, err := kvstore.OpenJetStreamHistory(t.Context(), dial(t, pick(n)), scope, opts)
		if err != nil {
			t.Fatal(err)
		}
		scopes[h] = scope
		return h
	}
	return &kvtest.History{
		Open: func(t *testing.T, opts *kvstore.HistoryOptions) kvstore.History { return open(t, scopeOf(t), opts) },
		Again: func(t *testing.T, h kvstore.History) kvstore.History {
			mu.Lock()
			scope := scopes[h]
			mu.Unlock()
			return open(t, scope, nil)
		},
	}
}

// Lines go when they are old, and the history says from when on it is whole.
func TestMemoryHistoryAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := kvstore.NewMemoryHistory(&kvstore.HistoryOptions{MaxAge: time.Hour})
		begun := time.Now()
		add := func(id string) {
			t.Helper()
			if err := h.Append(t.Context(), []kvstore.Line{{Key: "a", ID: id}}); err != nil {
				t.Fatal(err)
			}
		}
		ids := func() (out string) {
			for l := range h.Read(t.Context(), "", time.Time{}) {
				out += l.ID
			}
			return out
		}
		add("x")
		time.Sleep(30 * time.Minute)
		add("y")
		if since, _, _ := h.Since(t.Context()); ids() != "xy" || !since.Equal(begun) {
			t.Fatalf("%q since %v", ids(), since)
		}
		time.Sleep(31 * time.Minute)
		add("x") // its id is forgotten
		if since, _, _ := h.Since(t.Context()); ids() != "yx" || !since.Equal(begun) {
			t.Fatalf("%q since %v", ids(), since)
		}
		time.Sleep(30 * time.Minute)
		if since, _, _ := h.Since(t.Context()); ids() != "x" || !since.Equal(begun.Add(30*time.Minute)) {
			t.Fatalf("%q since %v", ids(), since)
		}
	})
}

// The stream is bounded, by age and by size, and its lines carry nothing but their id.
func TestHistoryStreamIsBounded(t *testing.T) {
	node := oneNode(t)
	scope := scopeOf(t)
	nc := dial(t, node)
	h, err := kvstore.OpenJetStreamHistory(t.Context(), nc, scope, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Append(within(t, 20*time.Second), []kvstore.Line{{Key: "calc", ID: "calc.7", Value: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	s := must[jetstream.Stream](t)(must[jetstream.JetStream](t)(jetstream.New(nc)).Stream(t.Context(), "toolbus_"+scope+"_history"))
	c := s.CachedInfo().Config
	if c.MaxAge != kvstore.HistoryAge || c.MaxBytes != kvstore.HistoryBytes || c.Discard != jetstream.DiscardOld || c.Duplicates != kvstore.HistoryWindow {
		t.Fatalf("%+v", c)
	}
	m := must[*jetstream.RawStreamMsg](t)(s.GetLastMsgForSubject(t.Context(), "toolbus.history."+scope+".calc"))
	for _, added := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} { // by the read
		delete(m.Header, added)
	}
	if len(m.Header) != 1 || m.Header["Nats-Msg-Id"][0] != "calc.7" {
		t.Fatalf("%v", m.Header)
	}
}
