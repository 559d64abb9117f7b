package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/toolbus/toolbus/registry"
)

func isTaken(err error) bool { return errors.Is(err, registry.ErrNameTaken) }

// gone begins to look a name up, again and again, and collect says when it was there no more. With n names it is the last of them that counts.
func (c *child) gone(_ context.Context, r Request) (Reply, error) {
	last := r.Name
	if r.N > 0 {
		last = name(r.Name, r.N-1)
	}
	if _, err := c.reg.Whereis(last); err != nil {
		return Reply{}, err
	}
	c.waiting = make(chan Reply, 1)
	go func() {
		for {
			if _, err := c.reg.Whereis(last); err != nil {
				c.waiting <- Reply{At: mono()}
				return
			}
			// A reader that spins takes a core from those that work: this costs the figure at most the sleep.
			runtime.Gosched()
			time.Sleep(100 * time.Microsecond)
		}
	}()
	return Reply{}, nil
}

// down begins to monitor a name; collect says when the notice came.
func (c *child) down(_ context.Context, r Request) (Reply, error) {
	fired, err := c.reg.Monitor(context.Background(), r.Name) // ends with its notice
	if err != nil {
		return Reply{}, err
	}
	c.waiting = make(chan Reply, 1)
	go func() {
		<-fired
		c.waiting <- Reply{At: mono()}
	}()
	return Reply{}, nil
}

// seen begins many watches of all names; collect says when each had been told of n names.
func (c *child) seen(_ context.Context, r Request) (Reply, error) {
	c.waiting = make(chan Reply, 1)
	ctx, cancel := context.WithCancel(context.Background()) // ends when all have seen enough
	synced, ats, failed := make(chan struct{}, r.Many), make(chan int64, r.Many), make(chan error, r.Many)
	for range r.Many {
		go func() {
			seen := 0
			for e, err := range c.reg.Watch(ctx, &registry.WatchOptions{Pattern: ">", Buffer: r.N + 16}) {
				switch {
				case err != nil:
					failed <- err
					return
				case e.Kind == registry.Synced:
					synced <- struct{}{}
				case e.Kind == registry.Registered:
					if seen++; seen == r.N {
						ats <- mono()
						return
					}
				}
			}
		}()
	}
	for range r.Many {
		select {
		case <-synced:
		case err := <-failed:
			cancel()
			return Reply{}, err
		}
	}
	go func() {
		defer cancel()
		reply := Reply{}
		for len(reply.Ats) < r.Many {
			select {
			case at := <-ats:
				reply.Ats = append(reply.Ats, at)
			case err := <-failed:
				reply.URL = err.Error()
				c.waiting <- reply
				return
			}
		}
		c.waiting <- reply
	}()
	return Reply{}, nil
}

// collect waits for what began before.
func (c *child) collect(ctx context.Context, _ Request) (Reply, error) {
	if c.waiting == nil {
		return Reply{}, errors.New("nothing has begun")
	}
	select {
	case r := <-c.waiting:
		c.waiting = nil
		if r.URL != "" {
			return Reply{}, fmt.Errorf("a watch: %s", r.URL)
		}
		return r, nil
	case <-time.After(4 * time.Minute):
		return Reply{}, errors.New("it did not happen within four minutes")
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	}
}
