package kvstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// feedBuffer is how many messages of the feed wait for a slow reader; what comes then is dropped, found missing, and
	// answered with a Snapshot.
	feedBuffer = 8192
	// tailPatience is how long the feed may be behind the leader's word before the watch stops to wait for it.
	tailPatience = 300 * time.Millisecond
	// tailTimeout is how long one question after the log's tail, and one barrier of a snapshot, may take before it is asked again.
	tailTimeout = time.Second
)

// feed is one running Watch. All of it runs on the goroutine that ranges over it.
type feed struct {
	s      *JetStream
	prefix string
	sub    *nats.Subscription
	msgs   chan *nats.Msg
	status chan nats.Status
	checks <-chan Check

	log      string
	revision Revision // everything up to here was handed out
	batch    []Entry  // an atomic batch that has not shown its commit yet; it goes on from revision
	batchID  string
	dropped  int // what the subscription had dropped when we last looked

	stale  bool // something may be missing: the next step is a Snapshot
	tail   Revision
	behind *time.Timer // runs while the feed has not reached tail

	asking  sync.WaitGroup
	answers chan tailAnswer // the question that is out; nil: none
	wanted  []Check         // what is to be asked after it
}

// Watch implements Store. It follows what the stream republishes as it is stored: that reaches every process within a
// millisecond or two, also right after the leader was killed, where the consumer under a stock watch was silent for many seconds. The
// feed is core NATS and may lose; contiguous revisions show every loss, and a snapshot repairs it.
func (s *JetStream) Watch(ctx context.Context, opts *WatchOptions) iter.Seq2[Step, error] {
	if opts == nil {
		opts = &WatchOptions{}
	}
	return func(yield func(Step, error) bool) {
		f := &feed{s: s, prefix: opts.Prefix, checks: opts.Check, stale: true}
		if ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer f.asking.Wait()
		defer cancel()
		if err := f.open(); err != nil {
			yield(Step{}, err)
			return
		}
		defer f.close()
		for ctx.Err() == nil {
			step, ok, err := f.next(ctx)
			if err != nil {
				if ctx.Err() == nil {
					yield(Step{}, err)
				}
				return
			}
			if ok && !yield(step, nil) {
				return
			}
		}
	}
}

func (f *feed) open() error {
	f.msgs = make(chan *nats.Msg, feedBuffer)
	f.status = f.s.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	f.behind = time.NewTimer(time.Hour)
	f.behind.Stop()
	sub, err := f.s.nc.ChanSubscribe(f.s.names.feed+">", f.msgs)
	if err != nil {
		f.s.nc.RemoveStatusListener(f.status)
		return f.s.readError(err, f.s.names.feed+">")
	}
	f.sub = sub
	return nil
}

func (f *feed) close() {
	f.behind.Stop()
	f.s.nc.RemoveStatusListener(f.status)
	// On a closed connection there is nothing left to end.
	_ = f.sub.Unsubscribe()
}

// next waits for one thing to happen. It returns a step if that made one, and an error only if the watch cannot go on.
func (f *feed) next(ctx context.Context) (Step, bool, error) {
	if f.stale {
		step, err := f.repair(ctx)
		return step, err == nil, err
	}
	select {
	case <-ctx.Done():
	case msg := <-f.msgs:
		step, ok := f.take(msg)
		if len(f.msgs) == 0 {
			f.lookForDrops()
		}
		return step, ok, nil
	case status := <-f.status:
		if status == nats.CLOSED {
			return Step{}, false, fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrConnectionClosed)
		}
		f.ask(ctx, CheckTail) // what was said while we were away is lost
	case check, open := <-f.checks:
		if !open {
			f.checks = nil
			break
		}
		f.ask(ctx, drainChecks(f.checks, check))
	case answer := <-f.answers:
		f.answers = nil
		if len(f.wanted) > 0 {
			next := slices.Max(f.wanted)
			f.wanted = nil
			f.ask(ctx, next)
		}
		return Step{}, false, f.check(ctx, answer)
	case <-f.behind.C:
		if f.revision < f.tail {
			f.stale = true
		}
	}
	return Step{}, false, nil
}

// lookForDrops notices what a full buffer threw away when no later message shows the gap.
func (f *feed) lookForDrops() {
	dropped, err := f.sub.Dropped()
	if err == nil && dropped != f.dropped {
		f.dropped = dropped
		f.stale = true
	}
}

// take applies one message of the feed. It makes a step out of an entry, and out of the last entry of an atomic batch.
func (f *feed) take(msg *nats.Msg) (Step, bool) {
	if value(msg.Header, headerStream) != f.s.names.stream {
		return Step{}, false
	}
	e, ok := parseEntry(keyOf(msg.Subject, f.s.names.feed), msg.Header, msg.Data)
	if !ok {
		return Step{}, false
	}
	reached := f.revision + Revision(len(f.batch))
	switch {
	case e.Revision <= reached:
		return Step{}, false // the snapshot has it, or it came twice
	case e.Revision != reached+1:
		f.stale = true
		return Step{}, false
	}
	id, position, last := batchOf(msg.Header)
	if id != "" && position != len(f.batch)+1 || len(f.batch) > 0 && id != f.batchID {
		f.stale = true // not where its batch should be: we do not know what came before
		return Step{}, false
	}
	f.batch, f.batchID = append(f.batch, e), id
	if !last {
		return Step{}, false
	}
	step := Step{Kind: Append, Entries: withPrefix(f.batch, f.prefix), Revision: e.Revision, Log: f.log}
	f.batch, f.batchID, f.revision = nil, "", e.Revision
	f.s.saw(e.Revision)
	return step, true
}

// tailAnswer is what the leader said of its log, for a check.
type tailAnswer struct {
	check Check
	asked Revision // how far the watch was then
	info  *jetstream.StreamInfo
	err   error
}

// ask asks the leader for the log's tail, for a check, and goes on with the feed meanwhile: a leader that was just killed
// answers nothing, and what its successor says has to be heard at once. One question is out at a time.
func (f *feed) ask(ctx context.Context, c Check) {
	if f.answers != nil {
		f.wanted = append(f.wanted, c)
		return
	}
	answers, asked := make(chan tailAnswer, 1), f.revision
	f.answers = answers
	f.asking.Go(func() {
		info, err := f.s.askTail(ctx)
		answers <- tailAnswer{c, asked, info, err}
	})
}

// askTail asks until somebody answers.
func (s *JetStream) askTail(ctx context.Context) (*jetstream.StreamInfo, error) {
	return retry(ctx, &s.door, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		ctx, cancel := context.WithTimeout(ctx, tailTimeout)
		defer cancel()
		return s.info(ctx)
	})
}

// check compares the watch with what the leader said of the log.
func (f *feed) check(ctx context.Context, answer tailAnswer) error {
	switch {
	case errors.Is(answer.err, errNoStream):
		f.stale = f.stale || f.log != ""
		return nil
	case answer.err != nil:
		f.s.log.Debug("cannot look at the log's tail", "stream", f.s.names.stream, "error", answer.err)
		return nil // the next check will
	}
	if err := f.configured(ctx, answer.info); err != nil && !passing(err) && !errors.Is(err, errNoStream) {
		return err
	}
	last := Revision(answer.info.State.LastSeq)
	switch {
	case answer.check == CheckAll, logName(answer.info) != f.logCreated():
		f.stale = true
	case last > f.revision:
		// It may be on its way.
		f.tail = last
		f.behind.Reset(tailPatience)
	case last < f.revision:
		// The log has lost what it had when it was asked; what came since is another matter.
		f.stale = f.stale || last < answer.asked
	}
	return nil
}

// configured has a changed configuration put back by a process that writes to this log. One that only reads cannot follow a log that
// is not republished: ErrForeign.
func (f *feed) configured(ctx context.Context, info *jetstream.StreamInfo) error {
	if err := f.s.foreign(info); err != nil {
		return err
	}
	if len(f.s.changed(&info.Config)) == 0 {
		return nil
	}
	if f.s.wrote.Load() {
		f.s.ready.Store(false)
		return f.s.ensure(ctx, false)
	}
	if info.Config.RePublish == nil {
		return fmt.Errorf("%w: %s is not republished any longer", ErrForeign, f.s.names.stream)
	}
	return nil
}

// reset puts the watch at a revision of a log.
func (f *feed) reset(log string, revision Revision) {
	f.log, f.revision = log, revision
	f.batch, f.batchID = nil, ""
	f.tail = 0
	f.behind.Stop()
}

// logCreated is the part of the log's name that the stream itself has.
func (f *feed) logCreated() string {
	created, _, _ := strings.Cut(f.log, "~")
	return created
}

// repair makes a Snapshot, however long it takes.
func (f *feed) repair(ctx context.Context) (Step, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		step, err := f.snapshot(ctx)
		if err == nil {
			f.stale = false
			return step, nil
		}
		if !passing(err) && !unknown(err) || f.s.nc.IsClosed() {
			return Step{}, err
		}
		if ctx.Err() == nil {
			f.s.log.Debug("no snapshot yet", "stream", f.s.names.stream, "error", err)
		}
		if !sleep(ctx, pause) {
			return Step{}, ctx.Err()
		}
	}
}

// snapshot is one attempt. A process that writes to this log writes a barrier first: the snapshot has to contain it, so it
// cannot come from a replica, or an isolated leader, that does not know what was acknowledged meanwhile. One that only reads leaves
// no trace, and trusts the leader's word.
func (f *feed) snapshot(ctx context.Context) (Step, error) {
	ctx, cancel := f.s.limit(ctx)
	defer cancel()
	var bar Revision
	if f.s.wrote.Load() && f.log != "" {
		// A barrier whose fate is unknown does no harm: it is given up early and written again.
		ctx, cancel := context.WithTimeout(ctx, tailTimeout)
		defer cancel()
		var err error
		if bar, err = f.s.writeBarrier(ctx, false); err != nil && !errors.Is(err, errNoStream) && !errors.Is(err, ErrDenied) {
			return Step{}, err
		}
	}
	f.lookForDrops()
	snap, err := f.s.snapshot(ctx, bar)
	if errors.Is(err, errNoStream) {
		f.reset("", 0)
		return Step{Kind: Snapshot}, nil
	}
	if err != nil {
		return Step{}, err
	}
	if err := f.configured(ctx, snap.info); err != nil {
		return Step{}, err
	}
	log := snap.log
	if snap.log == f.logCreated() {
		log = f.log
		if snap.revision < f.revision {
			if bar == 0 {
				return Step{}, fmt.Errorf("%w: at %d, seen %d", errStale, snap.revision, f.revision)
			}
			// The quorum itself has lost what it once acknowledged: what follows is another log.
			log = fmt.Sprintf("%s~%d", snap.log, snap.revision)
		}
	}
	f.reset(log, snap.revision)
	return Step{
		Kind: Snapshot, Entries: withPrefix(snap.entries, f.prefix), Revision: snap.revision,
		Log: log, Metadata: maps.Clone(logMetadata(snap.info)),
	}, nil
}
