//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// worker changes things, one call after the other, with one session at a time.
type worker struct {
	*client
	number int
	mode   registry.Mode
	rand   *rand.Rand
	shared map[string]*registry.Registration
}

// limit is the deadline of a call on the records' clock.
func limit(ctx context.Context) int64 {
	at, _ := ctx.Deadline()
	return Now() + int64(time.Until(at))
}

// result puts an error into the record of a return. A claim that is refused may have had its effect before: where its answer was lost, and then somebody else
// took the name.
func result(err error, r Record) Record {
	if err == nil {
		r.OK = true
		return r
	}
	r.Err = err.Error()
	var nobody interface{ NoResponders() bool }
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrDeclined), errors.As(err, &nobody):
	default:
		r.Maybe = true
	}
	return r
}

// call makes one call and takes it down. do returns what is to be written of it.
func (w *worker) call(ctx context.Context, r Record, do func(ctx context.Context) (Record, error)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Workload.Deadline)
	defer cancel()
	r.Limit = limit(ctx)
	id := w.journal.Call(r)
	out, err := do(ctx)
	w.journal.Return(id, result(err, out))
	return err
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		if o := w.session(ctx); o != nil {
			w.step(ctx, o)
		}
		pause(ctx, time.Duration(float64(w.cfg.Workload.Pause)*(0.5+w.rand.Float64())))
	}
}

// step makes one thing happen.
func (w *worker) step(ctx context.Context, o *owned) {
	load := w.cfg.Workload
	switch p := w.rand.IntN(100); {
	case p < 50:
		w.contend(ctx, o, w.name())
	case p < 68:
		w.fresh(ctx, w.name())
	case p < 82 && load.Groups > 0:
		w.member(ctx, o, fmt.Sprintf("g%d", w.rand.IntN(load.Groups)))
	case p < 96 && load.Shared > 0:
		w.share(ctx, o, fmt.Sprintf("r%d", w.rand.IntN(load.Shared)))
	case p >= 98:
		w.shared = nil
		_ = w.call(ctx, Record{Do: DoClose, Sess: o.s.ID(), Mode: string(o.mode)}, func(ctx context.Context) (Record, error) {
			return Record{}, o.s.Close(ctx)
		})
	}
}

// name draws a name of those for the worker's mode.
func (w *worker) name() string {
	if w.mode == registry.Strict {
		return fmt.Sprintf("s%d", w.rand.IntN(w.cfg.Workload.Strict))
	}
	return fmt.Sprintf("n%d", w.rand.IntN(w.cfg.Workload.Names))
}

// contend does something about a name: gives it up or away where the session holds it, else tries to get it.
func (w *worker) contend(ctx context.Context, o *owned, name string) {
	w.mu.Lock()
	h := o.names[name]
	w.mu.Unlock()
	call := Record{Name: name, Sess: o.s.ID(), Mode: string(o.mode)}
	p := w.rand.IntN(100)
	switch {
	case h != nil && p < 55:
		call.Do, call.Token = DoUnregister, h.token
		err := w.call(ctx, call, func(ctx context.Context) (Record, error) { return Record{Token: h.token}, h.reg.Unregister(ctx) })
		w.lost(h, fmt.Errorf("unregistered: %w", errors.Join(err, h.reg.Err())))
	case h != nil && p < 85:
		w.transfer(ctx, h, call)
	case h != nil:
	case p < 65:
		w.register(ctx, o, call, registry.FirstWins)
	case p < 77:
		w.register(ctx, o, call, registry.Replace)
	default:
		w.standBy(ctx, o, call)
	}
}

func (w *worker) register(ctx context.Context, o *owned, r Record, how registry.Conflict) {
	r.Do = DoRegister
	if how == registry.Replace {
		r.Do = DoReplace
	}
	_ = w.call(ctx, r, func(ctx context.Context) (Record, error) {
		reg, err := o.s.Register(ctx, r.Name, &registry.RegisterOptions{Instance: w.instance(), Conflict: how})
		if err != nil {
			return Record{}, err
		}
		return Record{Token: w.holding(o, r.Name, reg, r.Do).token}, nil
	})
}

func (w *worker) instance() string { return fmt.Sprintf("i%016x", w.rand.Uint64()) }

// transfer gives a name to a session that the view shows, of the same mode.
func (w *worker) transfer(ctx context.Context, h *held, r Record) {
	var others []string
	for _, l := range w.reg.Leases() {
		if l.Mode == w.mode && l.Session != h.reg.Session().ID() {
			others = append(others, l.Session)
		}
	}
	if len(others) == 0 {
		return
	}
	r.Do, r.Token, r.To = DoTransfer, h.token, others[w.rand.IntN(len(others))]
	_ = w.call(ctx, r, func(ctx context.Context) (Record, error) { return Record{}, h.reg.Transfer(ctx, r.To) })
}

// standBy waits in line for a while.
func (w *worker) standBy(ctx context.Context, o *owned, r Record) {
	r.Do = DoStandBy
	var b *registry.Standby
	err := w.call(ctx, r, func(ctx context.Context) (Record, error) {
		var err error
		b, err = o.s.StandBy(ctx, r.Name, &registry.RegisterOptions{Instance: w.instance()})
		return Record{}, err
	})
	if err != nil {
		return
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(w.rand.Int64N(int64(w.cfg.Workload.Deadline/3))))
	defer cancel()
	if reg, err := b.Wait(wait); err == nil {
		w.holding(o, r.Name, reg, DoStandBy)
		return
	}
	r.Do = DoWithdraw
	_ = w.call(ctx, r, func(ctx context.Context) (Record, error) { return Record{}, b.Withdraw(ctx) })
	if reg, won := b.Elected(); won {
		w.holding(o, r.Name, reg, DoStandBy)
	}
}

// fresh reads a name behind a barrier.
func (w *worker) fresh(ctx context.Context, name string) {
	_ = w.call(ctx, Record{Do: DoFresh, Name: name}, func(ctx context.Context) (Record, error) {
		if err := w.reg.Refresh(ctx); err != nil {
			return Record{}, err
		}
		out := Record{Rev: uint64(w.reg.Revision())}
		rec, err := w.reg.Whereis(name)
		if err == nil {
			out.Token, out.Owners = uint64(rec.Token), []string{rec.Session}
		} else if errors.Is(err, registry.ErrNotFound) {
			err = nil
		}
		return out, err
	})
}

// member joins a group, leaves it or reads it.
func (w *worker) member(ctx context.Context, o *owned, group string) {
	m := o.group[group]
	r := Record{Name: group, Sess: o.s.ID()}
	switch p := w.rand.IntN(100); {
	case p < 50:
		r.Do = DoMembers
		_ = w.call(ctx, r, func(ctx context.Context) (Record, error) {
			if err := w.reg.Refresh(ctx); err != nil {
				return Record{}, err
			}
			out := Record{Rev: uint64(w.reg.Revision())}
			members, err := w.reg.Members(group)
			for _, m := range members {
				out.Owners = append(out.Owners, m.Session)
			}
			return out, err
		})
	case m == nil || m.Err() != nil:
		r.Do = DoJoin
		_ = w.call(ctx, r, func(ctx context.Context) (Record, error) {
			m, err := o.s.Join(ctx, group, nil)
			if err == nil {
				o.group[group] = m
			}
			return Record{}, err
		})
	default:
		r.Do = DoLeave
		delete(o.group, group)
		_ = w.call(ctx, r, func(ctx context.Context) (Record, error) { return Record{}, m.Leave(ctx) })
	}
}

// share serves a shared name, serves it no more, or reads who does.
func (w *worker) share(ctx context.Context, o *owned, name string) {
	reg := w.shared[name]
	r := Record{Name: name, Sess: o.s.ID(), To: "one"}
	switch p := w.rand.IntN(100); {
	case p < 40:
		w.fresh(ctx, name)
	case reg == nil || reg.Err() != nil:
		r.Do = DoShare
		_ = w.call(ctx, r, func(ctx context.Context) (Record, error) {
			reg, err := o.s.Register(ctx, name, &registry.RegisterOptions{Digest: "one", Instance: o.s.ID() + "-" + name})
			if err == nil {
				if w.shared == nil {
					w.shared = map[string]*registry.Registration{}
				}
				w.shared[name] = reg
			}
			return Record{}, err
		})
	default:
		r.Do = DoUnshare
		delete(w.shared, name)
		_ = w.call(ctx, r, func(ctx context.Context) (Record, error) { return Record{}, reg.Unregister(ctx) })
	}
}

// read reads names from the view, and how old that may be.
func (c *client) read(ctx context.Context, r *rand.Rand) {
	load := c.cfg.Workload
	for ctx.Err() == nil {
		name := fmt.Sprintf("n%d", r.IntN(max(load.Names, 1)))
		if r.IntN(2) == 0 && load.Strict > 0 {
			name = fmt.Sprintf("s%d", r.IntN(load.Strict))
		}
		id := c.journal.Call(Record{Do: DoCached, Name: name})
		f := c.reg.Freshness()
		rec, err := c.reg.Whereis(name)
		out := Record{OK: true, Rev: uint64(f.Revision), Age: int64(f.Age), Known: f.Known}
		if err == nil {
			out.Token, out.Owners = uint64(rec.Token), []string{rec.Session}
		}
		c.journal.Return(id, out)
		pause(ctx, time.Duration(float64(load.Reads)*(0.5+r.Float64())))
	}
}
