package registry

import (
	"context"
	"time"
)

// Conflict is what a claim does where another session holds the name. A dead owner's name is always free.
type Conflict string

const (
	// FirstWins leaves the name to who has it: *NameTakenError. The default.
	FirstWins Conflict = ""
	// Replace takes the name from a living owner, ahead of all who stand by, and tells him why. A strict owner keeps it until he gives it up
	// or is silent for a TTL: the claim waits for that while ctx lasts. Where the answer of the log was lost and somebody else has the name by
	// then, he keeps it: *NameTakenError, as the claim may have been there before him.
	Replace Conflict = "replace"
	// Queue waits in line: the session stands by until it is its turn, or ctx ends.
	Queue Conflict = "queue"
)

// replacedBy is the reason that the owner before is told.
func replacedBy(why string) Reason {
	if why == "" {
		return ReasonReplaced
	}
	return ReasonReplaced + ": " + Reason(why)
}

// standing returns nil when what was in the way of a claim is there no more, and a *NameTakenError when it is clear that it stays. A holder that
// answers, and one of this process, stays; one that does not is reported to the keeper, whose verdict is waited for. A standby that may
// claim is as good as a holder.
func (r *Registry) standing(ctx context.Context, blocked claim, conflict Conflict) error {
	taken := takenError(blocked)
	if blocked.held == nil {
		return taken
	}
	held := blocked.held
	if conflict == Replace { // from a strict owner: when he has gone
		for {
			if !pause(ctx, reportPause) {
				return taken
			}
			if r.moved(held) {
				return nil
			}
		}
	}
	r.mu.Lock()
	own := r.sessions[held.session] != nil
	patience := r.timing.ttl + 3*time.Second
	r.mu.Unlock()
	if own || r.peers == nil {
		return taken
	}
	began := r.clock.Boot()
	for {
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		_, err := r.peers.Request(probe, r.subject(held.session), nil)
		cancel()
		if err == nil || ctx.Err() != nil || r.clock.Boot()-began > patience {
			return taken
		}
		data := encode(report{Session: held.session})
		if err := r.peers.Publish(r.subject("report"), data); err != nil {
			r.log.Debug("reporting a silent session", "session", held.session, "error", err)
		}
		if !pause(ctx, reportPause) {
			return taken
		}
		if r.moved(held) {
			return nil
		}
	}
}

// moved tells whether a key is held by another than it was, or by nobody.
func (r *Registry) moved(held *entry) bool {
	now, _ := r.view.claim(held.key)
	return now.held == nil || now.held.session != held.session
}

const (
	probeTimeout = 500 * time.Millisecond
	reportPause  = 100 * time.Millisecond
)

// takenError says to the loser of a claim what was in his way.
func takenError(blocked claim) error {
	if blocked.held == nil {
		w := blocked.heir.value.(*Waiting)
		return &NameTakenError{Name: w.Name, Next: w}
	}
	switch v := blocked.held.value.(type) {
	case *Record:
		return &NameTakenError{Name: v.Name, Owner: *v}
	case *Member:
		return &NameTakenError{Name: v.Group + "/" + v.Instance, Owner: Record{
			Node: v.Node, Session: v.Session, Instance: v.Instance, Since: v.Since, Revision: v.Revision}}
	}
	return ErrNameTaken
}
