package kvtest

import (
	"strings"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

var limits = chapter{"limit", []test{
	{"bad keys", func(t *testing.T, _ *Suite, s kvstore.Store) {
		for _, key := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", ">", "*", "a.>", "ü", "a\r\nb", strings.Repeat("k", kvstore.MaxKey+1)} {
			_, err := s.Create(within(t), key, nil, 0)
			wantError(t, err, kvstore.ErrBadKey)
			_, err = s.Update(within(t), key, nil, 1, 0)
			wantError(t, err, kvstore.ErrBadKey)
			_, err = s.Delete(within(t), key, nil, 1)
			wantError(t, err, kvstore.ErrBadKey)
		}
		if _, rev, err := s.List(within(t), ""); err != nil || rev != 0 {
			t.Fatalf("a refused write made a log: revision %d, %v", rev, err)
		}
	}},
	{"the longest key", func(t *testing.T, _ *Suite, s kvstore.Store) {
		f := follow(t, s, nil)
		key := strings.Repeat("Zz9_-/=.", kvstore.MaxKey/8-1) + "12345678"
		rev := create(t, s, key, "v")
		wantValue(t, s, key, "v", rev)
		f.reach(rev)
		if e := f.entry(key); e.Revision != rev {
			t.Fatalf("the watch has %+v", e)
		}
	}},
	{"the largest value", func(t *testing.T, _ *Suite, s kvstore.Store) {
		value := strings.Repeat("0123456789abcdef", kvstore.MaxValue/16)
		rev := create(t, s, "k", value)
		wantValue(t, s, "k", value, rev)
		_, err := s.Create(within(t), "more", append([]byte(value), 'x'), 0)
		wantError(t, err, kvstore.ErrTooLarge)
		_, err = s.Update(within(t), "k", append([]byte(value), 'x'), rev, 0)
		wantError(t, err, kvstore.ErrTooLarge)
		_, err = s.Delete(within(t), "k", append([]byte(value), 'x'), rev)
		wantError(t, err, kvstore.ErrTooLarge)
		wantNothing(t, s, "more")
	}},
	{"revision 0", func(t *testing.T, _ *Suite, s kvstore.Store) {
		_, err := s.Update(within(t), "k", nil, 0, 0)
		wantError(t, err, kvstore.ErrBadRevision)
		_, err = s.Delete(within(t), "k", nil, 0)
		wantError(t, err, kvstore.ErrBadRevision)
		wantNothing(t, s, "k")
	}},
	{"empty and binary values", func(t *testing.T, _ *Suite, s kvstore.Store) {
		f := follow(t, s, nil)
		binary := "\x00\r\n\xff NATS/1.0\r\n"
		a, b := create(t, s, "empty", ""), create(t, s, "binary", binary)
		wantValue(t, s, "empty", "", a)
		wantValue(t, s, "binary", binary, b)
		f.reach(b)
		if got := string(f.entry("binary").Value); got != binary {
			t.Fatalf("the watch has %q", got)
		}
	}},
}}
