package registry

import (
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unique"

	"github.com/toolbus/toolbus/kvstore"
)

// recordVersion is written into each record. A reader takes any version: fields that it does not know are for others.
const recordVersion = 1

// Record is a name as the view shows it: who holds it, since when, and what he said about it.
type Record struct {
	Name     string            `json:"name"`
	Node     string            `json:"node"`              // the owner's node, or what its process calls itself
	Session  string            `json:"session"`           // the owner's session
	Instance string            `json:"instance"`          // the hosted server; the session where none is hosted
	Kind     string            `json:"kind,omitempty"`    // what kind of server it is, in the owner's words
	Address  string            `json:"address,omitempty"` // where it can be reached other than by its name
	Host     string            `json:"host,omitempty"`
	PID      int               `json:"pid,omitempty"`
	Since    time.Time         `json:"since"` // the owner's clock
	Metadata map[string]string `json:"metadata,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Groups   []string          `json:"groups,omitempty"` // filled in by List and Describe, not by Whereis

	// Digest is that of the specification of a shared name: others with the same may serve it too. Empty: it is not shared.
	Digest string `json:"digest,omitempty"`
	// Token is the fencing token: the revision of the claim. It grows with each claim of the name and stays through its owner's updates.
	Token kvstore.Revision `json:"token"`
	// Revision is that of the record itself.
	Revision kvstore.Revision `json:"revision"`
}

// Holder names the owner in one phrase, for people.
func (r Record) Holder() string {
	who := r.Node
	if who == "" {
		who = "session " + r.Session
	}
	switch {
	case r.PID != 0 && r.Host != "":
		return fmt.Sprintf("%s (pid %d on %s)", who, r.PID, r.Host)
	case r.PID != 0:
		return fmt.Sprintf("%s (pid %d)", who, r.PID)
	}
	return who
}

// Member is one membership as the view shows it.
type Member struct {
	Group    string            `json:"group"`
	Name     string            `json:"name,omitempty"` // the name of the instance, where it has one
	Node     string            `json:"node"`
	Session  string            `json:"session"`
	Instance string            `json:"instance"`
	Since    time.Time         `json:"since"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Token    kvstore.Revision  `json:"token"` // the revision at which it joined; it stays through updates, and orders the members
	Revision kvstore.Revision  `json:"revision"`
}

// Waiting is a session that stands by for a name, as the view shows it.
type Waiting struct {
	Name     string           `json:"name"`
	Node     string           `json:"node"`
	Session  string           `json:"session"`
	Instance string           `json:"instance"`
	Since    time.Time        `json:"since"`
	Place    kvstore.Revision `json:"place"` // in the queue: the revision at which it began to wait
	Revision kvstore.Revision `json:"revision"`
}

// Replica is one of the instances that serve a shared name.
type Replica struct {
	Name     string           `json:"name"`
	Node     string           `json:"node"`
	Session  string           `json:"session"`
	Instance string           `json:"instance"`
	Host     string           `json:"host,omitempty"`
	PID      int              `json:"pid,omitempty"`
	Since    time.Time        `json:"since"`
	Digest   string           `json:"digest"`
	Place    kvstore.Revision `json:"place"` // the revision at which it joined; the first that lives stands for the name
	Revision kvstore.Revision `json:"revision"`
}

// Lease is a session as the view shows it.
type Lease struct {
	Node    string    `json:"node"`
	Session string    `json:"session"`
	Process string    `json:"process"`
	Host    string    `json:"host,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Mode    Mode      `json:"mode"`
	Server  string    `json:"server,omitempty"`  // the server and the connection that carried the session when it wrote this
	Client  string    `json:"client,omitempty"`  //
	Servers int       `json:"servers,omitempty"` // how many servers it could connect to
	Attempt uint64    `json:"attempt"`           // which write of this session this is
	Started time.Time `json:"started"`

	Revision kvstore.Revision `json:"-"`
}

// Mode says what may end a session.
type Mode string

const (
	// Service: evidence of death may end the session early.
	Service Mode = "service"
	// Strict: only its owner, or silence for a whole TTL, ends it: the validity of two owners of one name never overlaps.
	Strict Mode = "strict"
)

// What is stored is what is shown, and a little more.
type (
	leaseRecord struct {
		Lease
		V int `json:"v"`
	}
	nameRecord struct {
		Record
		Writer string `json:"writer"`         // this very attempt: a claim whose answer was lost is told from another's by it
		From   string `json:"from,omitempty"` // the session that gave the name away to this one
		Why    Reason `json:"why,omitempty"`  // what the owner before, who lives, is told
		V      int    `json:"v"`
		later  *later
	}
	replicaRecord struct {
		Replica
		Writer string `json:"writer"`
		V      int    `json:"v"`
	}
	waitRecord struct {
		Waiting
		Writer string `json:"writer"`
		V      int    `json:"v"`
	}
	groupRecord struct {
		Member
		Writer string `json:"writer"`
		V      int    `json:"v"`
		later  *later
	}
)

// encode makes the one line of JSON that is stored. Our records hold nothing that JSON cannot.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("registry: a record that is no JSON: " + err.Error())
	}
	return data
}

// entry is one record of the view: the newest entry of its key, decoded. A record that cannot be decoded, or that does not belong under its
// key, holds nothing: it is kept for its revision alone.
type entry struct {
	key      string
	revision kvstore.Revision
	stored   int64  // when, by the store's clock, in Unix nanoseconds; for people
	ended    bool   // a tombstone
	reason   Reason // of the tombstone, or what the record says to the owner before
	from     string // who gave the name away
	later    *later // of a name or member: what this version does not know of it; mostly nil
	session  string // whose record it is; empty for what holds nothing
	writer   string
	value    any // *Lease, *Record, *Member, *Waiting, *Replica, *Property, *Claimed, *pulse, or nil
	bad      string
}

// shared returns one copy of a text that many records have: a view of a hundred thousand names has few sessions, nodes and hosts.
func shared(text string) string { return unique.Make(text).Value() }

// decodeAll decodes the entries of a step: many of them, which only a snapshot has, by as many goroutines as there are processors.
func decodeAll(entries []kvstore.Entry) []*entry {
	decoded := make([]*entry, len(entries))
	const few = 2 * kvstore.MaxBatch
	if len(entries) <= few {
		for i, e := range entries {
			decoded[i] = decode(e)
		}
		return decoded
	}
	var all sync.WaitGroup
	part := (len(entries) + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	for from := 0; from < len(entries); from += part {
		all.Go(func() {
			for i, e := range entries[from:min(from+part, len(entries))] {
				decoded[from+i] = decode(e)
			}
		})
	}
	all.Wait()
	return decoded
}

// decode turns an entry of the log into one of the view. It never fails: what is wrong with a record is in bad.
func decode(e kvstore.Entry) *entry {
	out := &entry{key: e.Key, revision: e.Revision, stored: e.Time.UnixNano(), ended: e.Tombstone()}
	switch e.Operation {
	case kvstore.Expire:
		out.reason = ReasonExpired
		return out
	case kvstore.Delete:
		var t tombstone
		if json.Unmarshal(e.Value, &t); t.Reason == "" {
			t.Reason = ReasonRemoved
		}
		out.reason = t.Reason
		return out
	}
	kind, rest := splitKey(e.Key)
	var err error
	switch kind {
	case kindLease:
		var rec leaseRecord
		if err = json.Unmarshal(e.Value, &rec); err == nil && rec.Session != rest {
			err = fmt.Errorf("it names session %q", rec.Session)
		}
		rec.Revision = e.Revision
		if err == nil {
			out.session, out.value = rec.Session, &rec.Lease
		}
	case kindName:
		var rec nameRecord
		if err = json.Unmarshal(e.Value, &rec); err == nil && (rec.Name != rest || rec.Session == "") {
			err = fmt.Errorf("it names %q of session %q", rec.Name, rec.Session)
		}
		if rec.Revision = e.Revision; rec.Token == 0 || rec.Token > e.Revision {
			rec.Token = e.Revision
		}
		if err == nil {
			shown := rec.Record // alone, without what only the log needs
			shown.Name = rest
			shown.Session, shown.Node, shown.Host, shown.Kind = shared(rec.Session), shared(rec.Node), shared(rec.Host), shared(rec.Kind)
			if rec.Instance == rec.Session {
				shown.Instance = shown.Session
			}
			out.session, out.writer, out.value, out.from, out.reason = shown.Session, rec.Writer, &shown, rec.From, rec.Why
			out.later = laterOf(e.Value, rec.V, nameFields)
		}
	case kindGroup:
		var rec groupRecord
		group, instance, ok := splitGroup(rest)
		if err = json.Unmarshal(e.Value, &rec); err == nil && (!ok || rec.Group != group || rec.Instance != instance || rec.Session == "") {
			err = fmt.Errorf("it names member %q of %q", rec.Instance, rec.Group)
		}
		if rec.Revision = e.Revision; rec.Token == 0 || rec.Token > e.Revision {
			rec.Token = e.Revision
		}
		if err == nil {
			out.session, out.writer, out.value = rec.Session, rec.Writer, &rec.Member
			out.later = laterOf(e.Value, rec.V, memberFields)
		}
	case kindReplica:
		var rec replicaRecord
		name, instance, ok := splitGroup(rest)
		if err = json.Unmarshal(e.Value, &rec); err == nil && (!ok || rec.Name != name || rec.Instance != instance || rec.Session == "") {
			err = fmt.Errorf("it names %q serving %q", rec.Instance, rec.Name)
		}
		if rec.Revision = e.Revision; rec.Place == 0 || rec.Place > e.Revision {
			rec.Place = e.Revision
		}
		if err == nil {
			out.session, out.writer, out.value = rec.Session, rec.Writer, &rec.Replica
		}
	case kindStandby:
		var rec waitRecord
		name, instance, ok := splitGroup(rest)
		if err = json.Unmarshal(e.Value, &rec); err == nil && (!ok || rec.Name != name || rec.Instance != instance || rec.Session == "") {
			err = fmt.Errorf("it names %q waiting for %q", rec.Instance, rec.Name)
		}
		if rec.Revision = e.Revision; rec.Place == 0 || rec.Place > e.Revision {
			rec.Place = e.Revision
		}
		if err == nil {
			out.session, out.writer, out.value = rec.Session, rec.Writer, &rec.Waiting
		}
	case kindProperty:
		err = out.decodeProperty(rest, e.Value)
	case kindClaim:
		err = out.decodeClaim(rest, e.Value)
	case keyPulse:
		p := new(pulse)
		if err = json.Unmarshal(e.Value, p); err == nil {
			p.revision = e.Revision
			out.value = p
		}
	}
	if err != nil {
		out.bad = err.Error()
	}
	return out
}
