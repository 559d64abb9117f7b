//go:build linux

package faults

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// fold is one watch of all that happens: it is taken down, event by event, and folded into what is there.
type fold struct {
	journal *Journal

	mu  sync.Mutex
	now map[string]Seen
}

func newFold(j *Journal) *fold { return &fold{journal: j, now: map[string]Seen{}} }

func (f *fold) names() map[string]Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.now)
}

// follow watches until ctx ends. A watch that was too slow starts over.
func (f *fold) follow(ctx context.Context, reg *registry.Registry) {
	for ctx.Err() == nil {
		f.mu.Lock()
		clear(f.now)
		f.mu.Unlock()
		f.journal.Write(Record{What: WWatch})
		for e, err := range reg.Watch(ctx, &registry.WatchOptions{Buffer: 1 << 16}) {
			if err != nil {
				if errors.Is(err, registry.ErrClosed) {
					return
				}
				break
			}
			f.event(e)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (f *fold) event(e registry.Event) {
	r := Record{What: WEvent, Do: string(e.Kind), Rev: uint64(e.Revision), Err: string(e.Reason), Gap: e.Collapsed}
	switch e.Kind {
	case registry.Registered, registry.Updated, registry.Unregistered:
		r.Name, r.Sess, r.Token, r.To = e.Record.Name, e.Record.Session, uint64(e.Record.Token), e.Record.Digest
	case registry.Joined, registry.Left:
		r.Name, r.Sess, r.Token, r.Inst = e.Member.Group, e.Member.Session, uint64(e.Member.Token), e.Member.Instance
	case registry.Synced:
	default:
		return
	}
	f.mu.Lock()
	switch e.Kind {
	case registry.Registered, registry.Updated:
		f.now[r.Name] = Seen{r.Token, r.Sess}
	case registry.Unregistered:
		delete(f.now, r.Name)
	}
	f.mu.Unlock()
	f.journal.Write(r)
}
