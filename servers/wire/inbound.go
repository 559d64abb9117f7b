package wire

import "time"

const (
	creditBytes  = 1 << 20 // what a reader takes before it says so
	creditFrames = 64
	resumeEvery  = time.Second // between two questions for the same frames
	resumeTries  = 3           // without a frame in between
)

// inbound is what comes of one numbered stream. The client's lock guards it.
type inbound struct {
	id     string // the stream's at the instance, "" outside detached sessions
	to     string // the subject at which it comes
	seq    uint64 // the last frame that came in order
	total  int    // the bytes of all of them
	unread int    // messages that wait for Read
	parts  assembly

	told      uint64 // the last frame that the instance knows to be taken
	toldTotal int

	asked time.Time // when lost frames were asked for; zero: nothing is missing
	tries int
}

// next sorts a frame by its number: it follows, or it came before, or some are missing in front of it.
func (in *inbound) next(seq uint64) (follows, missing bool) {
	if seq == in.seq+1 {
		in.seq, in.asked, in.tries = seq, time.Time{}, 0
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

// ask tells whether to ask for what is missing now. gone: it was asked for often enough.
func (in *inbound) ask(now time.Time) (ask, gone bool) {
	switch {
	case !in.asked.IsZero() && now.Sub(in.asked) < resumeEvery:
		return false, false
	case in.tries >= resumeTries:
		return false, true
	}
	in.asked = now
	in.tries++
	return true, false
}
