package registry

import (
	"context"
	"sync"
)

// lines has those who wait in this process stand in line, one line a group, so that what becomes free wakes one of them and not all. Its zero value is
// ready.
type lines struct {
	mu    sync.Mutex
	heads map[string]*line
}

// line is one line: who has put something into first is at its head. Those who wait to do so come in their order.
type line struct {
	first chan struct{}
	n     int // how many stand in it
}

// enter returns when the caller is at the head of the line, who must leave it in the end, or with the context's error.
func (l *lines) enter(ctx context.Context, group string) (leave func(), err error) {
	l.mu.Lock()
	at := l.heads[group]
	if at == nil {
		if l.heads == nil {
			l.heads = map[string]*line{}
		}
		at = &line{first: make(chan struct{}, 1)}
		l.heads[group] = at
	}
	at.n++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if at.n--; at.n == 0 {
			delete(l.heads, group)
		}
	}
	select {
	case at.first <- struct{}{}:
		return func() { <-at.first; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, ctx.Err()
	}
}
