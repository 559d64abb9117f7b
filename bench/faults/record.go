//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Record is one line of what a process wrote down.
type Record struct {
	What    string `json:"w"` // one of the constants below
	At      int64  `json:"t"` // Now, when it was written; of a call: just before it was made
	Process string `json:"-"` // whose file it is in: c1.2

	ID   int    `json:"id,omitempty"` // joins a call and its return
	Do   string `json:"do,omitempty"` // what is called
	Name string `json:"n,omitempty"`  // of a name or a group
	Sess string `json:"s,omitempty"`
	Mode string `json:"m,omitempty"`
	To   string `json:"to,omitempty"` // the session that a name is given to; of a replica: its digest

	OK     bool     `json:"ok,omitempty"`
	Err    string   `json:"e,omitempty"`
	Maybe  bool     `json:"u,omitempty"` // the call may have had, or may still have, its effect
	Token  uint64   `json:"k,omitempty"`
	Rev    uint64   `json:"r,omitempty"`
	Age    int64    `json:"a,omitempty"`
	Known  bool     `json:"y,omitempty"`
	Limit  int64    `json:"l,omitempty"` // of a call: when its context ends
	Owners []string `json:"o,omitempty"` // the sessions that a read showed
	Slot   int      `json:"x,omitempty"` // of a holding: its place in Marks
	Gap    bool     `json:"g,omitempty"` // of an event: collapsed
	Inst   string   `json:"i,omitempty"`
	Ret    int64    `json:"-"` // of a call: when it returned; never where the process died before
}

// What a record may be.
const (
	WCall   = "call"
	WReturn = "ret"
	WHold   = "hold"  // the process has come to hold a name: from here on Marks says whether it serves
	WLost   = "lost"  // the owner was told that a name is no longer his, and why
	WEnd    = "end"   // a session's owner was told that it has ended, and why
	WEvent  = "event" // a watch told something
	WWatch  = "watch" // a watch began
	WSkew   = "skew"  // the process's clock goes wrong from here on
	WStart  = "start"
)

// What a call may be.
const (
	DoOpen       = "open"
	DoClose      = "close"
	DoRegister   = "register"
	DoReplace    = "replace"
	DoUnregister = "unregister"
	DoTransfer   = "transfer"
	DoStandBy    = "standby"
	DoWithdraw   = "withdraw"
	DoShare      = "share"
	DoUnshare    = "unshare"
	DoJoin       = "join"
	DoLeave      = "leave"
	DoFresh      = "fresh"   // of a name, with a barrier
	DoMembers    = "members" // of a group, with a barrier
	DoCached     = "cached"  // of a name, from the view
)

// Never is the return of a call that has not returned.
const Never = int64(1) << 62

// Journal is where a process writes its records: each line with one write, so that a kill loses at most the line under way. It may be used concurrently.
type Journal struct {
	mu    sync.Mutex
	file  *os.File
	calls atomic.Int64
	err   error
}

// OpenJournal makes the journal of a process in a run's folder.
func OpenJournal(dir, id string) (*Journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, id+".jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &Journal{file: f}, nil
}

// Write takes a record down; its time is now where it has none.
func (j *Journal) Write(r Record) {
	if r.At == 0 {
		r.At = Now()
	}
	line, err := json.Marshal(r)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil && j.err == nil {
		j.err = err
	}
}

// Call takes down that a call is about to be made, and returns its number.
func (j *Journal) Call(r Record) int {
	r.What, r.ID = WCall, int(j.calls.Add(1))
	j.Write(r)
	return r.ID
}

// Return takes down what a call returned.
func (j *Journal) Return(id int, r Record) {
	r.What, r.ID = WReturn, id
	j.Write(r)
}

// Close closes the file and returns the first error that a write met.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.file.Close(); j.err == nil {
		j.err = err
	}
	return j.err
}

// ReadRecords reads all journals of a run. Calls have their returns with them.
func ReadRecords(dir string) ([]Record, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, file := range files {
		records, err := readJournal(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, records...)
	}
	return all, nil
}

func readJournal(file string) ([]Record, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	process := filepath.Base(file)
	process = process[:len(process)-len(".jsonl")]
	var out []Record
	calls := map[int]int{}
	scan := bufio.NewScanner(bytes.NewReader(data))
	scan.Buffer(nil, 4<<20)
	for scan.Scan() {
		var r Record
		if err := json.Unmarshal(scan.Bytes(), &r); err != nil {
			if !scan.Scan() { // the last line, which a kill has cut
				break
			}
			return nil, err
		}
		r.Process = process
		switch r.What {
		case WReturn:
			i, ok := calls[r.ID]
			if !ok {
				return nil, fmt.Errorf("a return without a call: %d", r.ID)
			}
			c := &out[i]
			if r.Token != 0 {
				c.Token = r.Token
			}
			c.Ret, c.OK, c.Err, c.Maybe, c.Rev, c.Age, c.Known, c.Owners = r.At, r.OK, r.Err, r.Maybe, r.Rev, r.Age, r.Known, r.Owners
			continue
		case WCall:
			r.Ret, r.Maybe = Never, true
			calls[r.ID] = len(out)
		}
		out = append(out, r)
	}
	return out, scan.Err()
}
