package aggregate

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"

	"github.com/toolbus/toolbus/servers/wire"
)

// talk is the endpoint's own conversation with a server: its requests and their answers.
type talk struct {
	pipe wire.Pipe
	news func(wire.Message) // what the server says by itself
	done chan struct{}      // read has returned

	mu      sync.Mutex
	next    int
	waiting map[string]chan json.RawMessage // by id
	err     error
}

func newTalk(pipe wire.Pipe, news func(wire.Message)) *talk {
	t := &talk{pipe: pipe, news: news, done: make(chan struct{}), waiting: map[string]chan json.RawMessage{}}
	go t.read()
	return t
}

// close ends it and waits for its goroutine.
func (t *talk) close() {
	_ = t.pipe.Close()
	<-t.done
}

func (t *talk) read() {
	defer close(t.done)
	for {
		raw, err := t.pipe.Read(context.Background()) // close ends it
		if err != nil {
			t.mu.Lock()
			t.err = err
			for id, c := range t.waiting {
				close(c)
				delete(t.waiting, id)
			}
			t.mu.Unlock()
			return
		}
		m, err := wire.Scan(raw)
		switch {
		case err != nil:
		case m.Response():
			t.mu.Lock()
			c := t.waiting[string(m.ID())]
			delete(t.waiting, string(m.ID()))
			t.mu.Unlock()
			if c != nil {
				c <- raw
			}
		case m.Request():
			_ = t.pipe.Write(context.Background(), wire.Unattended(m)) // the next Read sees an end
		default:
			t.news(m)
		}
	}
}

// begin sends a request. Its answer comes on the channel, which is closed where the conversation ends first.
func (t *talk) begin(ctx context.Context, method, params string) (id string, answer <-chan json.RawMessage, err error) {
	c := make(chan json.RawMessage, 1)
	t.mu.Lock()
	if t.err != nil {
		err = t.err
		t.mu.Unlock()
		return "", nil, err
	}
	t.next++
	id = strconv.Itoa(t.next)
	t.waiting[id] = c
	t.mu.Unlock()
	err = t.pipe.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","id":`+id+`,"method":"`+method+`","params":`+params+`}`))
	if err != nil {
		t.forget(id)
		return "", nil, err
	}
	return id, c, nil
}

func (t *talk) forget(id string) {
	t.mu.Lock()
	delete(t.waiting, id)
	t.mu.Unlock()
}

// ask sends a request and waits for its result. An error that the server answers with is a *wire.Error.
func (t *talk) ask(ctx context.Context, method, params string) (json.RawMessage, error) {
	id, answer, err := t.begin(ctx, method, params)
	if err != nil {
		return nil, err
	}
	select {
	case raw, ok := <-answer:
		if !ok {
			t.mu.Lock()
			defer t.mu.Unlock()
			return nil, t.err
		}
		return resultOf(raw)
	case <-ctx.Done():
		t.forget(id)
		_ = t.tell(context.WithoutCancel(ctx), "notifications/cancelled", `{"requestId":`+id+`,"reason":"it took too long"}`)
		return nil, ctx.Err()
	}
}

func (t *talk) tell(ctx context.Context, method, params string) error {
	return t.pipe.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"`+method+`","params":`+params+`}`))
}

var errNoResult = errors.New("aggregate: the answer has neither a result nor an error")

// resultOf reads a response.
func resultOf(raw json.RawMessage) (json.RawMessage, error) {
	var r struct {
		Result json.RawMessage
		Error  *wire.Error
	}
	switch err := json.Unmarshal(raw, &r); {
	case err != nil:
		return nil, err
	case r.Error != nil:
		return nil, r.Error
	case r.Result == nil:
		return nil, errNoResult
	}
	return r.Result, nil
}
