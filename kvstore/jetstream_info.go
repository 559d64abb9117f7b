package kvstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// MinServer is the oldest nats-server that a JetStream store works with. Older ones have no atomic batch, or check the conditions in
// one against the wrong key.
const MinServer = "2.14.4"

// checkServer compares a server's version with MinServer. A version that is no version (a server built from source) passes.
func checkServer(version string) error {
	have, ok := parseVersion(version)
	if !ok {
		return nil
	}
	want, _ := parseVersion(MinServer)
	if slices.Compare(have[:], want[:]) < 0 {
		return fmt.Errorf("%w: nats-server %s, %s or newer is needed", ErrTooOld, version, MinServer)
	}
	return nil
}

func parseVersion(version string) (v [3]int, ok bool) {
	version, _, _ = strings.Cut(version, "-")
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) != len(v) {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// Info says what a log is and how it is kept.
type Info struct {
	Exists   bool
	Replicas int               // how many copies of the log there are
	Servers  int               // how many servers this connection knows of; 1 where the servers tell nobody
	Leader   string            // the server that takes the writes; "" in an election, or where there is no cluster
	Created  time.Time         // which log this is
	Last     Revision          // the newest entry's
	Time     time.Time         // the clock of who answered: the leader's
	Behind   map[string]uint64 // other servers with a copy: how many entries theirs lacks. One that is offline has an entry in Warnings
	Metadata map[string]string // what its maker wrote beside it
	Warnings []string          // what is not as it should be, one sentence each
}

// Info asks about the log. A log that nobody has made is no error.
func (s *JetStream) Info(ctx context.Context) (Info, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	info, err := retry(ctx, &s.door, s.info)
	if errors.Is(err, errNoStream) {
		return Info{Servers: s.servers()}, nil
	}
	if err != nil {
		return Info{}, err
	}
	out := Info{
		Exists:   true,
		Replicas: info.Config.Replicas,
		Servers:  s.servers(),
		Created:  info.Created,
		Last:     Revision(info.State.LastSeq),
		Time:     info.TimeStamp,
		Metadata: maps.Clone(logMetadata(info)),
	}
	if info.Cluster != nil {
		out.Leader = info.Cluster.Leader
		out.Behind = make(map[string]uint64, len(info.Cluster.Replicas))
		for _, peer := range info.Cluster.Replicas {
			out.Behind[peer.Name] = peer.Lag
		}
	}
	out.Warnings = s.warnings(info, out)
	return out, nil
}

func (s *JetStream) warnings(info *jetstream.StreamInfo, out Info) []string {
	var list []string
	if err := s.foreign(info); err != nil {
		list = append(list, err.Error())
	}
	if changed := s.changed(&info.Config); len(changed) > 0 {
		list = append(list, fmt.Sprintf("the configuration was changed: %s", strings.Join(changed, ", ")))
	}
	if out.Replicas < 3 && out.Servers >= 3 {
		list = append(list, fmt.Sprintf("the log has %d replica(s), the cluster has %d servers: one lost server can stop it", out.Replicas, out.Servers))
	}
	if info.Config.Storage != jetstream.FileStorage {
		list = append(list, "the log is kept in memory: it does not survive its servers")
	}
	if info.Cluster != nil {
		for _, peer := range info.Cluster.Replicas {
			if peer.Offline {
				list = append(list, fmt.Sprintf("the replica on %s is offline", peer.Name))
			}
		}
	}
	return list
}

// servers is how many servers the connection has heard of.
func (d *door) servers() int { return max(1, len(d.nc.Servers())) }

// retry repeats a read until it has an answer, an error that stays, or no more time.
func retry[T any](ctx context.Context, d *door, read func(context.Context) (T, error)) (T, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		v, err := read(ctx)
		if err == nil || !passing(err) {
			return v, err
		}
		if d.nc.IsClosed() || !sleep(ctx, pause) {
			return v, waitError(ctx, err)
		}
	}
}
