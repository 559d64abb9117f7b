package wire

import "time"

const (
	creditBytes  = 1 << 20 // what a reader takes before it says so
	creditFrames = 64
	resumeEvery  = time.Second // between two questions for the same frames
)

// inbound is what comes of one numbered stream. The client's lock guards it.
type inbound struct {
	id     string // the stream's at the instance, "" outside detached sessions
	from   Owner  // who sends it, known from the first frame
	to     string // the subject at which it comes
	seq    uint64 // the last frame that came in order
	total  int    // the bytes of all of them
	unread int    // messages that wait for Read
	parts  assembly

	told      uint64 // the last frame that the instance knows to be taken
	toldTotal int

	asked time.Time // when lost frames were asked for; zero: nothing is missing
	lacks time.Time // since when they are missing
}

// next sorts a frame by its number: it follows, or it came before, or some are missing in front of it.
func (in *inbound) next(seq uint64) (follows, missing bool) {
	if seq == in.seq+1 {
		in.seq, in.asked = seq, time.Time{}
		return true, false
	}
	return false, seq > in.seq
}

// credit tells whether the instance is to be told that the frames up to seq were taken.
func (in *inbound) credit(seq uint64, total int) bool {
	if seq <= in.told || total-in.toldTotal < creditBytes && seq-in.told < creditFrames {
		return false
	}
	in.told, in.toldTotal = seq, total
	return true
}

// ask tells whether to ask for what is missing now. gone: it has been missing for longer than patience.
func (in *inbound) ask(now time.Time, patience time.Duration) (ask, gone bool) {
	switch {
	case in.asked.IsZero():
		in.lacks = now
	case now.Sub(in.lacks) > patience:
		return false, true
	case now.Sub(in.asked) < resumeEvery:
		return false, false
	}
	in.asked = now
	return true, false
}
