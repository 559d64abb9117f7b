package bus

import (
	"fmt"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	_ "github.com/nats-io/nats-server/v2/server" // the variables below are its
)

// Raft's timing in nats-server has no option. With its own values (heartbeat 1 s, election 4 to 9 s) writes stop for 5 to 7 s after the
// leader's node was killed, and a registry cannot be quicker than that. The values are variables of the package, so we set
// them before the first server of the process starts; TestLeaderKilled asserts that it took effect, for the day when they are renamed.
// The linker refuses names that do not exist, so a renamed variable breaks the build, not the cluster.

//go:linkname natsHeartbeat github.com/nats-io/nats-server/v2/server.hbInterval
var natsHeartbeat time.Duration

//go:linkname natsMinElection github.com/nats-io/nats-server/v2/server.minElectionTimeout
var natsMinElection time.Duration

//go:linkname natsMaxElection github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var natsMaxElection time.Duration

//go:linkname natsLostQuorum github.com/nats-io/nats-server/v2/server.lostQuorumInterval
var natsLostQuorum time.Duration

//go:linkname natsLostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var natsLostQuorumCheck time.Duration

// DefaultElectionTimeout is the longest that a follower waits for its leader before it stands for election.
// The shortest is half of it, the heartbeat an eighth: 0.6 to 1.2 s and 150 ms. In a minute with two cores overloaded twice there was no
// needless election; clusters over wide areas take more.
const DefaultElectionTimeout = 1200 * time.Millisecond

const (
	minElectionOption = 400 * time.Millisecond // heartbeats of 50 ms: below this a busy machine elects all the time
	maxElectionOption = 60 * time.Second
)

var election struct {
	sync.Mutex
	set time.Duration // 0: no node was started yet
}

// setElectionTimeout sets the timing for this process. The first caller decides: the servers read the variables without a lock, so they
// are written once, before the first of them exists. It returns the value in force.
func setElectionTimeout(d time.Duration) (time.Duration, error) {
	election.Lock()
	defer election.Unlock()
	if d == 0 {
		d = DefaultElectionTimeout
		if election.set != 0 {
			d = election.set // whoever does not care takes what there is
		}
	}
	if d < minElectionOption || d > maxElectionOption {
		return 0, fmt.Errorf("%w: election timeout %s is not within %s and %s", ErrBadOptions, d, minElectionOption, maxElectionOption)
	}
	if election.set == 0 {
		natsHeartbeat = d / 8
		natsMinElection = d / 2
		natsMaxElection = d
		// A leader that hears of no majority for two whole elections has a successor. NATS' own ratio is about one; the
		// sooner it steps down, the shorter are reads through a cut-off leader wrong.
		natsLostQuorum = 2 * d
		natsLostQuorumCheck = d
		election.set = d
	}
	if election.set != d {
		return 0, &ElectionError{Theirs: election.set, Ours: d}
	}
	return d, nil
}
