package registry

import (
	"context"
	"errors"
)

// Await returns who holds name, as soon as somebody does, by this process's view: at once where somebody does now. When ctx ends first it is
// ErrNotFound with the context's error. Other errors: ErrBadName, ErrClosed.
func (r *Registry) Await(ctx context.Context, name string) (Record, error) {
	return r.AwaitAny(ctx, name)
}

// AwaitAny is Await for several names: it returns the first that is held, or, where several are held already, the first in the order in which
// they are given. Without a name it is ErrBadName.
func (r *Registry) AwaitAny(ctx context.Context, names ...string) (Record, error) {
	w := &watcher{names: make([]string, len(names))}
	if len(names) == 0 {
		return Record{}, &NameError{Why: "there is none to wait for"}
	}
	for i, name := range names {
		folded, err := ParseName(name)
		if err != nil {
			return Record{}, err
		}
		w.names[i] = folded
	}
	for {
		w.news = make(chan Event, len(names))
		r.view.subscribe(w)
		rec, err := r.awaited(ctx, w)
		r.view.unsubscribe(w)
		if !errors.Is(err, ErrLagged) { // else it was told more than it needs
			return rec, err
		}
	}
}

// awaited looks whether one of a watcher's names is held, and if not waits until it is told so.
func (r *Registry) awaited(ctx context.Context, w *watcher) (Record, error) {
	for _, name := range w.names {
		if rec, err := r.Whereis(name); err == nil {
			return *rec, nil
		}
	}
	for {
		ev, err := r.next(ctx, w)
		switch {
		case ctx.Err() != nil:
			return Record{}, &waitError{ErrNotFound, ctx.Err()}
		case err != nil:
			return Record{}, err
		case ev.Kind == Registered:
			return ev.Record, nil
		}
	}
}
