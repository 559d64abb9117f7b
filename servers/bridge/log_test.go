//go:build unix

package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/bus"
)

// The log of a bridge is read from elsewhere: what there is, in as many answers as it takes, and what comes.
func TestLogIsReadFromElsewhere(t *testing.T) {
	here, there := onBus(t)
	r := here.run(t, "talks", &RunOptions{Stdio: quick()}, "hand", "crash")
	log := r.Backend().Logs()
	for n := range 2*logLimit + 10 {
		log.add(1, fmt.Sprint("line ", n))
	}
	var texts []string
	for line, err := range ReadLog(within(t), there.conn, "test", r.Instance(), false) {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, line.Text)
	}
	if all := strings.Join(texts, "\n"); !strings.Contains(all, "unknown method server/discover") || texts[len(texts)-1] != fmt.Sprint("line ", 2*logLimit+9) {
		t.Errorf("%d lines: %.200s", len(texts), all)
	}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	followed := 0
	for line, err := range ReadLog(ctx, there.conn, "test", r.Instance(), true) {
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if followed++; followed == len(texts) {
			log.add(2, "news")
		}
		if line.Text == "news" {
			cancel()
		}
	}
	if followed != len(texts)+1 {
		t.Errorf("%d lines followed, want %d", followed, len(texts)+1)
	}
	if err := r.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, err := range ReadLog(within(t), there.conn, "test", r.Instance(), true) {
		if !errors.Is(err, bus.ErrNoResponders) {
			t.Errorf("of a bridge that has ended: %v", err)
		}
	}
}
