//go:build linux

package faults

import (
	"context"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// probe claims a name that nobody else wants and gives it up again.
func (c *client) probe(ctx context.Context) Probe {
	began := time.Now()
	call, cancel := context.WithTimeout(ctx, ProbeTime)
	defer cancel()
	err := c.tryClaim(call)
	p := Probe{Took: time.Since(began)}
	if err != nil {
		p.Err = err.Error()
	}
	p.Age, p.Known = c.reg.Age()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.holds {
		p.Holds++
		if h.reg.Serving() {
			p.Serving++
		}
	}
	return p
}

func (c *client) tryClaim(ctx context.Context) error {
	var s *registry.Session
	c.mu.Lock()
	for _, o := range c.owns {
		if o.s.Err() == nil && o.mode == registry.Service {
			s = o.s
		}
	}
	c.mu.Unlock()
	if s == nil {
		return registry.ErrSessionEnded
	}
	reg, err := s.Register(ctx, "probe-"+c.cfg.Name, nil)
	if err != nil {
		return err
	}
	return reg.Unregister(ctx)
}
