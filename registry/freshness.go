package registry

import (
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Freshness says at which revision of the log a read is true, and how old that can be. Two reads with one revision are of one state.
type Freshness struct {
	Revision kvstore.Revision `json:"revision"`
	// Age is the most that the view can be behind: what the log had that long ago is in it. It is an upper bound, known from the pulse; a view that
	// works is some milliseconds behind. Known is false where no pulse has been seen: then nothing bounds it. It counts
	// from when the pulse was written, as far as that is proven or, for who owns no session, can be seen: see age.go.
	Age   time.Duration `json:"age"`
	Known bool          `json:"known"`
}

// Freshness is that of any read which is made after it: the read is true at this revision or at a later one. For a read that is as new as the log
// itself, call Refresh before it.
func (r *Registry) Freshness() Freshness {
	f := Freshness{Revision: r.Revision()}
	f.Age, f.Known = r.Age()
	return f
}

// Freshness is that of the snapshot: true at its revision, for ever; how old that is now is not known.
func (s *Snapshot) Freshness() Freshness { return Freshness{Revision: s.Revision()} }
