package wire

import (
	"fmt"
	"time"
)

// owes notes the instances from which something is awaited.
func (p *client) owes(busy, idle map[*owner]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.owner != nil && c.listens != nil {
			idle[c.owner] = true
		} else if c.owner != nil {
			busy[c.owner] = true
		}
	}
	p.up.mark = p.up.seq
	if p.session != "" && !p.over && p.owner != nil {
		idle[p.owner] = true
	}
}

// overdue ends the calls that have waited too long, and tells whether others have waited long enough for their first frame to ask.
func (p *client) overdue(now time.Time) bool {
	limit := p.caller.opts.FirstFrame
	var late, over, lacks []*pending
	ask := false
	p.mu.Lock()
	lacking := !p.down.asked.IsZero()
	for _, c := range p.calls {
		if c.sent.IsZero() {
			continue
		}
		if !c.in.asked.IsZero() {
			lacks = append(lacks, c)
		}
		waited := now.Sub(c.sent)
		if c.limit = p.caller.struck(c.method, waited, now.Sub(c.heard)); c.limit > 0 {
			over = append(over, c)
		} else if c.owner == nil && waited > limit {
			late = append(late, c)
		} else if c.owner == nil && waited > probeEvery/2 {
			ask = true
		}
	}
	p.mu.Unlock()
	for _, c := range lacks {
		p.missing(&c.in, c)
	}
	if lacking {
		p.missing(&p.down, nil)
	}
	for _, c := range late {
		facts := p.facts(c)
		facts.Why = fmt.Sprintf("no frame came within %v", limit)
		p.finish(c, fail(CodeUnknown, p.target.String()+" did not say that it has the call", facts))
	}
	for _, c := range over {
		facts := p.facts(c)
		facts.Why = fmt.Sprintf("no answer within %v", c.limit)
		p.giveUp(c, fail(CodeUnknown, p.target.String()+" did not answer "+c.method, facts))
	}
	return ask
}

// nobody ends the calls that had no first frame when a probe for their target found nobody.
func (p *client) nobody(asked time.Time) {
	var dead []*pending
	p.mu.Lock()
	for _, c := range p.calls {
		if c.owner == nil && !c.sent.IsZero() && asked.Sub(c.sent) > ackAfter {
			dead = append(dead, c)
		}
	}
	p.mu.Unlock()
	for _, c := range dead {
		facts := p.facts(c)
		facts.Why = "nobody listens for it any more"
		p.finish(c, fail(CodeEnded, p.target.String()+" ended before it said that it has the call", facts))
	}
}

// compare holds what an instance says that it has of us against what we wait for. Frames of one connection arrive in order, so what is
// missing here, after all that was sent before the answer, was lost.
func (p *client) compare(o *owner, asked time.Time, s state) {
	var lost []*pending
	p.mu.Lock()
	heard, numbered := s.Heard[p.tag]
	numbered = numbered || p.session != "" && !p.detached && p.owner == o && s.Heard != nil && p.since.Before(asked)
	repeat := numbered && heard < p.up.mark
	for number, c := range p.calls {
		if c.owner != o || c.sent.IsZero() || c.sent.After(asked) {
			continue
		}
		if sent, has := s.Calls[p.tag+"."+number]; !has && repeat && c.up > heard {
			continue // it is sent again
		} else if !has || sent > c.in.seq {
			lost = append(lost, c)
		}
	}
	session, seen := p.session, p.down.seq
	ours := session != "" && p.owner == o && !p.detached && !p.over && p.since.Before(asked)
	p.mu.Unlock()
	if repeat {
		p.repeat(heard)
	}
	for _, c := range lost {
		p.missing(&c.in, c)
	}
	if sent, has := s.Sessions[session]; ours && has && sent > seen {
		p.missing(&p.down, nil)
	} else if ours && !has {
		facts := p.facts(nil)
		facts.Why = "the instance does not know it any more"
		p.end(fail(CodeNoSession, "the session ended", facts), false)
	}
}

// ownerEnded ends what an instance owes that has ended.
func (p *client) ownerEnded(o *owner, why string) {
	var dead []*pending
	p.mu.Lock()
	for _, c := range p.calls {
		if c.owner == o && (!c.session || p.detached) {
			dead = append(dead, c)
		}
	}
	session := p.session != "" && p.owner == o
	p.mu.Unlock()
	facts := Facts{Name: o.Name, Group: p.target.Group, Instance: o.Instance, Lease: o.Lease, Why: why}
	err := fail(CodeEnded, fmt.Sprintf("%s has ended: %s", o.Name, why), facts)
	for _, c := range dead {
		p.finish(c, err)
	}
	if session {
		p.end(err, false)
	}
}
