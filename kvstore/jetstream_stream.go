package kvstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A log is a stream of our own configuration that is also a key-value bucket: stock tools can list and read it.

// metadataVersion in a stream's metadata tells that it is a log of ours, and of which make.
const metadataVersion = "toolbus.log"

// oldestLog is below the first revision of every log of ours (a Unix time in milliseconds, times 1000) and above what
// a bucket made by hand will ever reach.
const oldestLog = 1e14

// config is how a log is configured.
func (s *JetStream) config(replicas int, first Revision) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              s.names.stream,
		Description:       "toolbus: the registry's log; do not change it with nats kv edit",
		Subjects:          []string{s.names.keys + ">"},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Replicas:          replicas,
		FirstSeq:          uint64(first),
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       true,
		// Per-key TTLs, and an entry when one ends, kept as long as a tombstone of ours.
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: TombstoneTTL,
		AllowAtomicPublish:     true,
		RePublish:              &jetstream.RePublish{Source: s.names.keys + ">", Destination: s.names.feed + ">"},
		Metadata:               s.wantedMetadata(),
	}
}

func (s *JetStream) wantedMetadata() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	metadata := maps.Clone(s.seen)
	if metadata == nil {
		metadata = maps.Clone(s.metadata)
	}
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata[metadataVersion] = "1"
	return metadata
}

// Ensure makes the log now if it is not there, with this store's replicas and metadata, and repairs its configuration if somebody changed it.
// Errors: ErrForeign, ErrTooOld, ErrDenied, ErrUnavailable.
func (s *JetStream) Ensure(ctx context.Context) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	s.ready.Store(false)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.connected(ctx)
		if err == nil {
			err = s.ensure(ctx, true)
		}
		if err == nil || !passing(err) {
			return err
		}
		if s.nc.IsClosed() || !sleep(ctx, pause) {
			return waitError(ctx, err)
		}
	}
}

// ensure looks once whether the log is there and as it should be, and makes it if create is set; else it returns errNoStream.
func (s *JetStream) ensure(ctx context.Context, create bool) error {
	if s.ready.Load() {
		return nil
	}
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-ctx.Done():
		return ErrUnavailable
	}
	if s.ready.Load() {
		return nil
	}
	if err := checkServer(s.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	info, err := s.info(ctx)
	switch {
	case errors.Is(err, errNoStream) && create:
		if err = s.create(ctx); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if err = s.repair(ctx, info); err != nil {
			return err
		}
	}
	s.ready.Store(true)
	return nil
}

// info asks for the stream once. Its leader answers.
func (s *JetStream) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	info := &jetstream.StreamInfo{}
	if err := s.api(ctx, "STREAM.INFO."+s.names.stream, nil, info); err != nil {
		return nil, err
	}
	return info, nil
}

// create makes the stream. Who loses the race to do so finds it made.
func (s *JetStream) create(ctx context.Context) error {
	first := max(firstRevision(time.Now()), Revision(s.highest.Load())+1)
	return s.place(s.replicas, func(replicas int) error { return s.makeStream(ctx, replicas, first) })
}

// place has a stream made with as many replicas as were asked for; 0: three, or one where there are fewer than three servers.
func (d *door) place(asked int, create func(replicas int) error) error {
	replicas := asked
	if replicas == 0 {
		replicas = 3
	}
	err := create(replicas)
	if asked == 0 && d.servers() < 3 && (refused(err, codeNoReplicas) || refused(err, codeNoPeers) && !strings.Contains(err.Error(), "offline")) {
		// There are fewer than three servers. (Three of which one is down, or is not known to the leader yet, is another
		// case: that one waits, since a stream with one replica dies with its server.)
		err = create(1)
	}
	if refused(err, codeNameTaken) {
		return fmt.Errorf("%w: somebody else makes the stream", ErrBusy)
	}
	return err
}

func (s *JetStream) makeStream(ctx context.Context, replicas int, first Revision) error {
	info := &jetstream.StreamInfo{}
	if err := s.api(ctx, "STREAM.CREATE."+s.names.stream, s.config(replicas, first), info); err != nil {
		return err
	}
	s.log.Info("made the log", "stream", s.names.stream, "replicas", replicas, "first", first)
	return nil
}

// foreign tells why a stream is not a log of ours, or nil.
func (s *JetStream) foreign(info *jetstream.StreamInfo) error {
	c := &info.Config
	why := ""
	switch {
	case len(c.Subjects) != 1 || c.Subjects[0] != s.names.keys+">":
		why = fmt.Sprintf("its subjects are %v", c.Subjects)
	case c.Mirror != nil || len(c.Sources) > 0:
		why = "it is filled from another stream"
	case c.SubjectTransform != nil:
		why = "it renames subjects"
	case c.Retention != jetstream.LimitsPolicy || c.Sealed || c.NoAck:
		why = "it is a work queue, sealed, or does not acknowledge"
	case info.State.LastSeq < oldestLog:
		why = fmt.Sprintf("its revisions begin at %d: it was not made by toolbus", info.State.FirstSeq)
	default:
		return nil
	}
	return fmt.Errorf("%w: %s: %s", ErrForeign, s.names.stream, why)
}

// changed lists what in a stream's configuration is not as we made it, all of it to be repaired in place.
func (s *JetStream) changed(c *jetstream.StreamConfig) []string {
	var list []string
	add := func(bad bool, what string) {
		if bad {
			list = append(list, what)
		}
	}
	add(!c.AllowAtomicPublish, "allow_atomic")
	add(!c.AllowMsgTTL, "allow_msg_ttl")
	add(!c.AllowDirect, "allow_direct")
	add(!c.AllowRollup, "allow_rollup_hdrs")
	add(c.SubjectDeleteMarkerTTL != TombstoneTTL, "subject_delete_marker_ttl")
	add(c.MaxMsgsPerSubject != 1, "max_msgs_per_subject")
	add(c.Discard != jetstream.DiscardNew || c.DiscardNewPerSubject, "discard")
	add(c.MaxAge != 0, "max_age")
	add(c.RePublish == nil || c.RePublish.Source != s.names.keys+">" || c.RePublish.Destination != s.names.feed+">" ||
		c.RePublish.HeadersOnly, "republish")
	add(c.Metadata[metadataVersion] == "", "metadata")
	return list
}

// repair puts back what somebody changed in the configuration (nats kv edit and UpdateKeyValue reset what they do not know), and
// remembers the metadata of a log that is in order.
func (s *JetStream) repair(ctx context.Context, info *jetstream.StreamInfo) error {
	if err := s.foreign(info); err != nil {
		return err
	}
	list := s.changed(&info.Config)
	if len(list) == 0 {
		s.remember(info)
		return nil
	}
	want := s.config(info.Config.Replicas, Revision(info.Config.FirstSeq))
	want.Storage, want.DenyDelete, want.DenyPurge = info.Config.Storage, info.Config.DenyDelete, info.Config.DenyPurge
	want.Placement, want.Compression, want.Duplicates = info.Config.Placement, info.Config.Compression, info.Config.Duplicates
	if info.Config.Metadata[metadataVersion] != "" {
		want.Metadata = info.Config.Metadata
	}
	after := &jetstream.StreamInfo{}
	if err := s.api(ctx, "STREAM.UPDATE."+s.names.stream, want, after); err != nil {
		if errors.Is(err, ErrUnavailable) && !isRefusal(err) {
			return err
		}
		return fmt.Errorf("%w: %s: cannot put back %v: %w", ErrForeign, s.names.stream, list, err)
	}
	s.log.Warn("the log's configuration had been changed; put back", "stream", s.names.stream, "what", list)
	return nil
}

// remember keeps the metadata of a log, to put it back one day.
func (s *JetStream) remember(info *jetstream.StreamInfo) {
	metadata := logMetadata(info)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = metadata
}

// logMetadata is what the maker of the log wrote beside it: without the server's own keys and our mark.
func logMetadata(info *jetstream.StreamInfo) map[string]string {
	metadata := make(map[string]string)
	for k, v := range info.Config.Metadata {
		if !strings.HasPrefix(k, "_nats.") && k != metadataVersion {
			metadata[k] = v
		}
	}
	return metadata
}
