package registry

import "time"

// A view is as old as the newest pulse in it, and how old that is no reader sees: his clock says when it came, and it may have been held up on its way, with all
// that followed it. Two things bound it without comparing two clocks.
//
// A process with sessions has answered an earlier pulse, and the one that counts its answer was written after that answer was sent. That is proof.
//
// A process without sessions has none, as it answers nothing. It sees how far apart the keeper's clock and its own were when the fastest pulse of this keeper came: one that
// comes later than that says by how much it was held up. The fastest is taken to have needed a pulse's time at most. A new keeper's first pulse is not older
// than the one before it, and that is all that is known of it.

// drift is the part of the time by which two clocks may run apart.
const drift = 20

// course is what a reader knows of a keeper's clock.
type course struct {
	keeper string
	lead   time.Duration // own clock less the keeper's, when the fastest pulse came
	at     time.Duration // of the keeper's clock, at the pulse before
}

// pulsedAt says since when, at the latest, a pulse that came at now was in the log. before is the same of the pulse before it.
func (c *course) pulsedAt(p *pulse, now, before moment) moment {
	lead := now.boot - p.Boot
	switch {
	case c.keeper != p.Keeper:
		*c = course{keeper: p.Keeper, lead: lead}
		if !before.zero() {
			c.lead = before.boot - p.Boot
		}
	default:
		c.lead = min(lead, c.lead+max(p.Boot-c.at, 0)/drift)
	}
	c.at = p.Boot
	return now.back(lead - c.lead)
}

// back is a moment that was d before this one.
func (m moment) back(d time.Duration) moment { return moment{boot: m.boot - d, wall: m.wall.Add(-d)} }

// age takes in what a pulse says of how old the view can be. proof is the reading of the clock before the answer that the pulse counts, zero where it
// counts none; silent tells that this process answers no pulse. It is called with the registry's lock.
func (r *Registry) age(p *pulse, now, proof moment, silent bool) {
	guess := now
	if p.Boot != 0 { // a keeper of an older version does not say it
		before := r.writtenAt
		if !before.zero() {
			before = before.back(-r.timing.pulse)
		}
		guess = r.course.pulsedAt(p, now, before)
	}
	guess = guess.back(r.timing.pulse)
	switch {
	case !proof.zero():
		if proof.after(r.writtenAt) {
			r.writtenAt = proof
		}
	case silent && guess.after(r.writtenAt):
		r.writtenAt = guess
	}
}
