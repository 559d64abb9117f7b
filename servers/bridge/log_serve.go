package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/toolbus/toolbus/bus"
)

// logSubject is where a bridge answers for the log of an instance.
func logSubject(scope, instance string) string { return "toolbus.ctl." + scope + ".logs." + instance }

const (
	logLimit    = 200              // lines in one answer
	logPatience = 20 * time.Second // how long an answer waits for the first line
	logRoom     = 10 * time.Second // for that answer on its way
)

// logQuestion asks for the lines after one. Who waits gets an answer when there is one, or after a while without.
type logQuestion struct {
	After uint64 `json:"after"`
	Wait  bool   `json:"wait,omitempty"`
}

// logAnswer has the next lines. Last is the newest that there is: behind the last of the lines, more are to be had at once.
type logAnswer struct {
	Lines []LogLine `json:"lines"`
	Last  uint64    `json:"last"`
}

// serve answers for the log until the handling that it returns is closed.
func (l *Log) serve(conn *bus.Conn, scope, instance string) (*bus.Handling, error) {
	return conn.Handle(logSubject(scope, instance), "", func(ctx context.Context, m *bus.Message) {
		var q logQuestion
		if len(m.Data) > 0 && json.Unmarshal(m.Data, &q) != nil {
			_ = m.RespondError(bus.ErrBadSubject) // who asks badly is told so; there is nobody else to tell
			return
		}
		lines, more := l.After(q.After, logLimit)
		if q.Wait && len(lines) == 0 {
			patience := time.NewTimer(logPatience)
			defer patience.Stop()
			select {
			case <-more:
			case <-patience.C:
			case <-ctx.Done():
			}
			lines, _ = l.After(q.After, logLimit)
		}
		l.mu.Lock()
		a := logAnswer{Lines: lines, Last: l.seq}
		l.mu.Unlock()
		data, err := json.Marshal(a)
		if err != nil {
			_ = m.RespondError(err)
			return
		}
		_ = m.Respond(data) // who asked is gone, then
	}, &bus.HandleOptions{Concurrency: 64})
}

// ReadLog yields the lines that the bridge of an instance keeps, the oldest first, from any machine; with follow it goes on with those that come, until ctx
// ends or the bridge does. The last pair has the error that ended it: bus.ErrNoResponders where no bridge answers for that instance (a server that is
// no command, one of an older version, one that has ended); ctx's. Lines that come faster than they are fetched are lost, oldest first, which
// shows in their numbers.
func ReadLog(ctx context.Context, conn *bus.Conn, scope, instance string, follow bool) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		for q := (logQuestion{}); ; {
			a, err := q.ask(ctx, conn, logSubject(scope, instance))
			if err != nil {
				yield(LogLine{}, err)
				return
			}
			for _, line := range a.Lines {
				if !yield(line, nil) {
					return
				}
				q.After = line.Seq
			}
			q.Wait = q.After >= a.Last || len(a.Lines) == 0
			if q.Wait && !follow {
				return
			}
		}
	}
}

func (q logQuestion) ask(ctx context.Context, conn *bus.Conn, subject string) (a logAnswer, err error) {
	data, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	bounded, cancel := context.WithTimeout(ctx, logPatience+logRoom)
	defer cancel()
	data, err = conn.Request(bounded, subject, data)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("bridge: the answer of a log: %w", err)
	}
	return a, nil
}
