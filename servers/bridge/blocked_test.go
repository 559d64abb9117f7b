//go:build unix

package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// fill writes until the child's pipe is full, and returns the errors of the last write.
func fill(t testing.TB, c *Child, msg json.RawMessage) error {
	t.Helper()
	for range 10_000 {
		if err := c.Write(within(t), msg); err != nil {
			return err
		}
	}
	t.Fatal("the pipe never fills")
	return nil
}

// A child that does not read blocks nobody for ever, and the error is the message's, not the conversation's.
func TestWriteToADeafChildEnds(t *testing.T) {
	c := start(t, &ChildOptions{WriteTimeout: 100 * time.Millisecond, EOFGrace: 10 * time.Millisecond}, "deaf")
	read(t, c)
	err := fill(t, c, json.RawMessage(message(1)))
	if !errors.Is(err, ErrBlocked) || !errors.Is(err, wire.ErrBusy) {
		t.Fatalf("write: %v", err)
	}
	if refused, ok := errors.AsType[*wire.Error](err); !ok || refused.Facts().Executed != "no" {
		t.Errorf("write: %+v", refused)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Write(ctx, json.RawMessage(message(1))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("write with a deadline: %v", err)
	}
	if c.Err() != nil {
		t.Errorf("the child has ended: %v", c.Err())
	}
}

// A message that was taken in part is completed when the child reads again: no frame is torn.
func TestFrozenChildLosesNoFrame(t *testing.T) {
	c := start(t, &ChildOptions{WriteTimeout: 50 * time.Millisecond}, "cat")
	if err := syscall.Kill(c.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var written []string
	refused := 0
	for i := range 8 {
		msg := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q}`, i, strings.Repeat("x", 20_000*(i%3)+50_000))
		switch err := c.Write(within(t), json.RawMessage(msg)); {
		case err == nil:
			written = append(written, msg)
		case errors.Is(err, ErrBlocked):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 || len(written) < 2 {
		t.Fatalf("%d written, %d refused: nothing was torn", len(written), refused)
	}
	if err := syscall.Kill(c.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	last := message(99)
	eventually(t, "it takes messages again", func() bool { return c.Write(within(t), json.RawMessage(last)) == nil })
	for i, want := range append(written, last) {
		if got := read(t, c); got != want {
			t.Fatalf("message %d: %d bytes %.40q, want %d bytes %.40q", i, len(got), got, len(want), want)
		}
	}
	if n := c.Noise(); n != 0 {
		t.Errorf("%d torn lines", n)
	}
}

func TestWriteRefusesWhatIsTooLarge(t *testing.T) {
	c := start(t, &ChildOptions{MaxFrame: 1000}, "cat")
	err := c.Write(within(t), json.RawMessage(`"`+strings.Repeat("x", 1000)+`"`))
	if !errors.Is(err, wire.ErrTooLarge) {
		t.Fatalf("write: %v", err)
	}
	if err := c.Write(within(t), json.RawMessage(message(1))); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c); got != message(1) {
		t.Errorf("read %q", got)
	}
}
