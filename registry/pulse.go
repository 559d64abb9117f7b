package registry

import (
	"slices"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// pulse is the entry that the keeper of a scope puts through the log once a second. It shows every view whether it is complete and how old it
// can be, calls the roll, and says whom the last call missed.
type pulse struct {
	Node     string            `json:"node"`   // the keeper's
	Keeper   string            `json:"keeper"` // its process
	Role     Role              `json:"role"`
	Leases   int               `json:"leases"`           // sessions that this pulse knows
	Answered int               `json:"answered"`         // how many of them answered the roll call that it reports
	Server   string            `json:"server,omitempty"` // of the keeper's connection
	Client   string            `json:"client,omitempty"`
	Extra    bool              `json:"extra,omitempty"`    // put out between two regular ones: only who is listed answers it
	Roll     kvstore.Revision  `json:"roll"`               // the pulse whose roll call this one reports; 0: none
	All      bool              `json:"all,omitempty"`      // too many to list: every session may be missing
	Missing  []string          `json:"missing,omitempty"`  // sessions that did not answer the reported roll call
	Suspects []string          `json:"suspects,omitempty"` // sessions that something else speaks against
	Ended    map[string]Reason `json:"ended,omitempty"`    // sessions that the batch of this pulse ends
	Log      string            `json:"log"`                // the log that the keeper follows
	At       time.Time         `json:"at"`                 // the keeper's clock, for people
	Boot     time.Duration     `json:"boot,omitempty"`     // the same since some fixed moment: a reader sees by it how late a pulse comes
	V        int               `json:"v"`

	revision kvstore.Revision
}

// maxListed is the most sessions that a pulse lists by id.
const maxListed = 500

// lists tells whether the pulse asks the session to answer at once.
func (p *pulse) lists(session string) bool {
	return p.All || slices.Contains(p.Missing, session) || slices.Contains(p.Suspects, session)
}

// Role says whether a process may keep the scope.
type Role string

const (
	// Candidate keeps the scope when no node does. The default.
	Candidate Role = "process"
	// Node keeps the scope before others do: it sees the events of the whole cluster.
	Node Role = "node"
	// Never keeps the scope: for commands that soon end.
	Never Role = "never"
)

// Settings of a scope, which who made its log wrote beside it.
const (
	MetadataTTL   = "toolbus.ttl"   // a Go duration
	MetadataPulse = "toolbus.pulse" // a Go duration

	// DefaultTTL is how long a session may be silent where nothing else is said: longer than a stock NATS takes to elect a leader, twice.
	DefaultTTL = 20 * time.Second
	// DefaultPulse is the time between two pulses.
	DefaultPulse = time.Second

	leaseTTL   = 15 * time.Minute // the lease's own TTL in the store: the last line, when no process of ours is left
	leaseFresh = 5 * time.Minute  // a lease is written again at this age
	leaseOld   = 10 * time.Minute // and never after this one: the store's expiry could overtake the write
	pulseTTL   = 30 * time.Second // of the pulse's entry

	marginPart = 10 // an owner stops believing a tenth of the TTL early
)

// timing is the settings of the log that a registry follows.
type timing struct {
	ttl   time.Duration
	pulse time.Duration
}

// valid is how long after the reading of its clock an owner may serve.
func (t timing) valid() time.Duration { return t.ttl - t.ttl/marginPart }

// answer is what a process sends the keeper when it answers the roll call.
type answer struct {
	Pulse    kvstore.Revision `json:"pulse"`
	Process  string           `json:"process"`
	Server   string           `json:"server,omitempty"`
	Client   string           `json:"client,omitempty"`
	Servers  int              `json:"servers,omitempty"`
	Sessions []string         `json:"sessions"`
}

// report is what a process sends whoever keeps the scope when it finds that a session does not answer.
type report struct {
	Session string `json:"session"`
}
