package kvtest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// History is the contract of kvstore.History, to be run on one backend.
type History struct {
	// Open makes an empty history that nobody has made yet.
	Open func(t *testing.T, opts *kvstore.HistoryOptions) kvstore.History
	// Again, if set, opens the same history a second time, as another process would.
	Again func(t *testing.T, h kvstore.History) kvstore.History
	// In, if set, runs each test, for example in a synctest bubble. Else tests run in parallel.
	In func(t *testing.T, test func(t *testing.T))
}

// Run runs the whole contract.
func (x *History) Run(t *testing.T) {
	for _, tt := range historyTests {
		t.Run(tt.name, func(t *testing.T) {
			run := func(t *testing.T) {
				h := x.Open(t, tt.opts)
				other := h
				if x.Again != nil {
					other = x.Again(t, h)
				}
				tt.run(t, h, other)
			}
			if x.In == nil {
				t.Parallel()
				run(t)
				return
			}
			x.In(t, run)
		})
	}
}

// line makes one.
func line(key string, i int) kvstore.Line {
	return kvstore.Line{Key: key, ID: fmt.Sprintf("%s.%d", key, i), Value: fmt.Appendf(nil, "%d", i)}
}

// readLines reads all lines as "key=value".
func readLines(t *testing.T, h kvstore.History, key string, since time.Time) (out []string, lines []kvstore.Line) {
	t.Helper()
	for l, err := range h.Read(within(t), key, since) {
		ok(t, err)
		out = append(out, l.Key+"="+string(l.Value))
		lines = append(lines, l)
	}
	return out, lines
}

func wantLines(t *testing.T, h kvstore.History, key string, since time.Time, want ...string) {
	t.Helper()
	if got, _ := readLines(t, h, key, since); !slices.Equal(got, want) {
		t.Fatalf("%q has %q, want %q", key, got, want)
	}
}

var historyTests = []struct {
	name string
	opts *kvstore.HistoryOptions
	run  func(t *testing.T, h, other kvstore.History)
}{
	{"what nobody has begun is empty", nil, func(t *testing.T, h, other kvstore.History) {
		wantLines(t, h, "", time.Time{})
		wantLines(t, h, "a", time.Now())
		newest, err := h.Newest(within(t))
		ok(t, err)
		if _, begun, err := h.Since(within(t)); err != nil || begun || len(newest) != 0 {
			t.Fatalf("begun %v, %v, newest %v", begun, err, newest)
		}
		ok(t, h.Append(within(t), nil))
		ok(t, h.Append(within(t), []kvstore.Line{line("a", 1)}))
		if since, begun, err := other.Since(within(t)); err != nil || !begun || time.Since(since) > time.Minute || time.Since(since) < -time.Minute {
			t.Fatalf("begun %v at %v, %v", begun, since, err)
		}
	}},
	{"lines in order, of one key or of all", nil, func(t *testing.T, h, other kvstore.History) {
		ok(t, h.Append(within(t), []kvstore.Line{line("a", 1), line("a.b", 1), line("a", 2)}))
		ok(t, other.Append(within(t), []kvstore.Line{line("c", 1), line("a", 3)}))
		wantLines(t, other, "", time.Time{}, "a=1", "a.b=1", "a=2", "c=1", "a=3")
		wantLines(t, h, "a", time.Time{}, "a=1", "a=2", "a=3")
		wantLines(t, h, "a.b", time.Time{}, "a.b=1")
		wantLines(t, h, "none", time.Time{})
		newest, err := other.Newest(within(t))
		ok(t, err)
		var got []string
		for _, l := range newest {
			got = append(got, l.Key+"="+string(l.Value))
		}
		slices.Sort(got)
		if !slices.Equal(got, []string{"a.b=1", "a=3", "c=1"}) {
			t.Fatalf("newest %q", got)
		}
	}},
	{"what many tell is kept once", nil, func(t *testing.T, h, other kvstore.History) {
		ok(t, h.Append(within(t), []kvstore.Line{line("a", 1), line("a", 2)}))
		ok(t, other.Append(within(t), []kvstore.Line{line("a", 1), line("a", 2), line("a", 3)}))
		ok(t, h.Append(within(t), []kvstore.Line{line("a", 3), line("a", 3)}))
		wantLines(t, h, "a", time.Time{}, "a=1", "a=2", "a=3")
	}},
	{"lines since a time", nil, func(t *testing.T, h, _ kvstore.History) {
		ok(t, h.Append(within(t), []kvstore.Line{line("a", 1), line("b", 1)}))
		_, lines := readLines(t, h, "", time.Time{})
		eventually(t, patience, "time passes", func() bool { return time.Since(lines[1].Time) > 20*time.Millisecond })
		between := lines[1].Time.Add(10 * time.Millisecond)
		ok(t, h.Append(within(t), []kvstore.Line{line("a", 2)}))
		_, lines = readLines(t, h, "a", time.Time{})
		if lines[1].ID != "a.2" || lines[1].Time.Before(lines[0].Time) {
			t.Fatalf("%+v", lines)
		}
		wantLines(t, h, "", between, "a=2")
		wantLines(t, h, "b", between)
		wantLines(t, h, "a", lines[1].Time.Add(time.Second))
	}},
	{"more than one page, and a reader who leaves", nil, func(t *testing.T, h, other kvstore.History) {
		const n = 4500
		lines := make([]kvstore.Line, n)
		for i := range lines {
			lines[i] = line("a", i)
		}
		ok(t, h.Append(within(t), lines))
		got, _ := readLines(t, other, "", time.Time{})
		if len(got) != n || got[0] != "a=0" || got[n-1] != fmt.Sprintf("a=%d", n-1) {
			t.Fatalf("%d lines", len(got))
		}
		read := 0
		for range other.Read(within(t), "a", time.Time{}) {
			if read++; read == 2500 {
				break
			}
		}
	}},
	{"the oldest go when it is too much", &kvstore.HistoryOptions{MaxBytes: 64 << 10}, func(t *testing.T, h, other kvstore.History) {
		for i := range 40 {
			l := line("a", i)
			l.Value = append(l.Value, make([]byte, 4<<10)...)
			for j := range l.Value[1:] { // not to be compressed away
				l.Value[1+j] = byte(i*31 + j*j)
			}
			ok(t, h.Append(within(t), []kvstore.Line{l}))
		}
		_, lines := readLines(t, other, "a", time.Time{})
		if n := len(lines); n == 0 || n >= 20 || lines[n-1].ID != "a.39" {
			t.Fatalf("%d lines are left", n)
		}
		since, begun, err := other.Since(within(t))
		if err != nil || !begun || since.After(lines[0].Time) {
			t.Fatalf("whole since %v (%v, %v), the oldest is of %v", since, begun, err, lines[0].Time)
		}
	}},
	{"what is no key is refused, and nothing after the context's end", nil, func(t *testing.T, h, _ kvstore.History) {
		for _, l := range []kvstore.Line{{Key: "a b", ID: "1"}, {Key: "a.*", ID: "1"}, {Key: "a", ID: ""}, {Key: "", ID: "1"}, {Key: "a", ID: "x\r\ny"}} {
			wantError(t, h.Append(within(t), []kvstore.Line{line("good", 1), l}), kvstore.ErrBadKey)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantError(t, h.Append(ctx, []kvstore.Line{line("a", 1)}), kvstore.ErrUnavailable)
		for _, err := range h.Read(ctx, "", time.Time{}) {
			wantError(t, err, kvstore.ErrUnavailable)
		}
		wantLines(t, h, "", time.Time{})
	}},
}
