package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A node's directory holds JetStream's store, a lock file and this marker. A store that a node made alone has no Raft groups: in a cluster its
// streams would be dropped or never replicated, and the reverse leaves a node waiting for peers. And a store of one node of a cluster that
// comes back under another node's name votes twice. So the directory says what it is for, and anything else is refused.
type dirMark struct {
	V       int    `json:"v"`
	Node    string `json:"node,omitempty"`    // "" for a node alone, whose name may change
	Cluster string `json:"cluster,omitempty"` // "" for a node alone
}

const (
	markFile  = "toolbus.json"
	lockFile  = "toolbus.lock"
	storeName = "store"
)

func (m dirMark) String() string {
	if m.Cluster == "" {
		return "a node alone"
	}
	return fmt.Sprintf("node %q of cluster %q", m.Node, m.Cluster)
}

// nodeDir is a claimed directory.
type nodeDir struct {
	path string
	temp bool
	lock *os.File
}

// openDir claims path for the node that mark describes, and makes it if need be. An empty path is a temporary directory.
func openDir(path string, mark dirMark) (*nodeDir, error) {
	mark.V = 1
	if path == "" {
		path, err := os.MkdirTemp("", "toolbus-")
		if err != nil {
			return nil, fmt.Errorf("bus: %w", err)
		}
		return &nodeDir{path: path, temp: true}, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	lock, err := lockPath(filepath.Join(path, lockFile))
	if errors.Is(err, ErrDirInUse) {
		return nil, fmt.Errorf("%w: %s", ErrDirInUse, path)
	} else if err != nil {
		return nil, fmt.Errorf("bus: lock directory: %w", err)
	}
	d := &nodeDir{path: path, lock: lock}
	if err := d.check(mark); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *nodeDir) check(mark dirMark) error {
	file := filepath.Join(d.path, markFile)
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err := json.Marshal(mark)
		if err != nil {
			return fmt.Errorf("bus: %w", err)
		}
		// Written aside and renamed: a crash leaves no half of a marker.
		if err := os.WriteFile(file+".new", append(raw, '\n'), 0o600); err != nil {
			return fmt.Errorf("bus: %w", err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			return fmt.Errorf("bus: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	var made dirMark
	if err := json.Unmarshal(raw, &made); err != nil {
		return fmt.Errorf("bus: %s: %w", file, err)
	}
	if made.Cluster != mark.Cluster || made.Node != mark.Node {
		return &DirError{Dir: d.path, Made: made.String(), Wanted: mark.String()}
	}
	return nil
}

func (d *nodeDir) store() string { return filepath.Join(d.path, storeName) }

// close gives the directory up; a temporary one is removed.
func (d *nodeDir) close() error {
	if d.lock != nil {
		d.lock.Close()
		d.lock = nil
	}
	if d.temp {
		return os.RemoveAll(d.path)
	}
	return nil
}
