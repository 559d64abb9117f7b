package wire

import "time"

const (
	retainStreams = 2048             // answered requests whose frames can be asked for again
	retainBytes   = 64 << 20         // and their bytes
	retainFor     = 30 * time.Second // and how long
	retainSlow    = 5 * time.Minute  // while something of the answer waits for the caller
)

// retained are the streams of requests that were answered: the caller may not have got all of it. The lock of its owner guards it.
type retained struct {
	ring  []old // the newest at next-1
	next  int
	bytes int
	slow  []old // not published to the end yet
}

type old struct {
	stream *stream
	size   int
	at     time.Time
}

func (r *retained) add(s *stream, now time.Time) {
	o := old{s, s.size(), now}
	if s.waits() {
		r.slow = append(r.slow, o)
		return
	}
	if r.ring == nil {
		r.ring = make([]old, retainStreams)
	}
	r.drop(r.next)
	r.ring[r.next] = o
	r.bytes += o.size
	r.next = (r.next + 1) % retainStreams
	for i := r.next; r.bytes > retainBytes && i != r.next-1; i = (i + 1) % retainStreams {
		r.drop(i)
	}
}

func (r *retained) drop(i int) {
	if o := &r.ring[i]; o.stream != nil {
		r.bytes -= o.size
		*o = old{}
	}
}

// age lets go of what is too old.
func (r *retained) age(now time.Time) {
	for i := range r.ring {
		if o := &r.ring[i]; o.stream != nil && now.Sub(o.at) > retainFor {
			r.drop(i)
		}
	}
	slow := r.slow
	r.slow = nil
	for _, o := range slow {
		switch {
		case !o.stream.waits():
			r.add(o.stream, now)
		case now.Sub(o.at) < retainSlow:
			r.slow = append(r.slow, o)
		default:
			o.stream.end()
		}
	}
}

// waiting are the streams that are not published to the end.
func (r *retained) waiting() []*stream {
	var all []*stream
	for _, o := range r.slow {
		all = append(all, o.stream)
	}
	return all
}

// find returns the stream that goes to a subject, nil if it is not kept.
func (r *retained) find(subject string) *stream {
	for _, o := range r.slow {
		if o.stream.address() == subject {
			return o.stream
		}
	}
	for i := range r.ring {
		if o := r.ring[i]; o.stream != nil && o.stream.address() == subject {
			return o.stream
		}
	}
	return nil
}
