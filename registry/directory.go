package registry

import (
	"hash/maphash"
	"iter"
	"sync/atomic"
)

// directory is the names that a view shows, for readers who take no lock and copy nothing: a look-up costs about what one in a bare map does, also
// while names come and go. A reader asks for the step before and after, so that it never sees half of one.
//
// It is a hash table in shards. What a look-up waits for is memory: a cell is half a cache line and has the name, so that only a caller who looks into the
// record fetches that. A cell belongs to one name for as long as its table lives, so that a reader needs no more than two atomic loads of it; a shard in
// which too many cells belong to names that have gone gets a new table. Only who holds the view's mu writes.
type directory struct {
	seed   maphash.Seed
	size   int
	steps  atomic.Uint64 // odd while a step is being applied
	shards [directoryShards]atomic.Pointer[directoryTable]
}

const directoryShards = 64 // a new table is then a matter of microseconds

type directoryTable struct {
	cells []directoryCell // a power of two of them
	taken int             // cells that belong to a name
	live  int             // and have a record
}

// directoryCell is empty while its tag is 0, and then the name that it would have is nowhere behind it either. The name is written before the tag and
// never again.
type directoryCell struct {
	tag    atomic.Uint32          // of the name's hash
	record atomic.Pointer[Record] // nil: the name has gone
	name   string
}

func newDirectory() *directory {
	d := &directory{seed: maphash.MakeSeed()}
	for i := range d.shards {
		d.shards[i].Store(&directoryTable{cells: make([]directoryCell, 8)})
	}
	return d
}

// begin and end stand around the changes of one step.
func (d *directory) begin() { d.steps.Add(1) }
func (d *directory) end()   { d.steps.Add(1) }

// read returns the record of a name; ok is false when a step was under way, so that the caller has to wait for it and find.
func (d *directory) read(name string) (rec *Record, ok bool) {
	step := d.steps.Load()
	rec = d.find(name)
	return rec, step&1 == 0 && d.steps.Load() == step
}

// find returns the record of a name, or nil. It returns the very record that was put.
func (d *directory) find(name string) *Record {
	hash := maphash.String(d.seed, name)
	c := d.shards[hash%directoryShards].Load().cell(hash, name)
	if c == nil {
		return nil
	}
	return c.record.Load()
}

// cell returns that of a name, or nil.
func (t *directoryTable) cell(hash uint64, name string) *directoryCell {
	for i, tag := hash/directoryShards, tagOf(hash); ; i++ {
		c := &t.cells[i&uint64(len(t.cells)-1)]
		switch c.tag.Load() {
		case tag:
			if c.name == name {
				return c
			}
		case 0:
			return nil
		}
	}
}

// tagOf is never 0.
func tagOf(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// put has name show a record; nil takes it out.
func (d *directory) put(name string, rec *Record) {
	hash := maphash.String(d.seed, name)
	shard := &d.shards[hash%directoryShards]
	t := shard.Load()
	c := t.cell(hash, name)
	was := c != nil && c.record.Load() != nil
	switch {
	case was && rec == nil:
		d.size, t.live = d.size-1, t.live-1
	case !was && rec != nil:
		d.size, t.live = d.size+1, t.live+1
	}
	switch {
	case c != nil:
		c.record.Store(rec)
	case rec == nil:
	case (t.taken+1)*8 <= len(t.cells)*7:
		t.take(hash, name, rec)
	default:
		t = t.again(d.seed)
		t.take(hash, name, rec)
		t.live++
		shard.Store(t)
	}
}

// take has the next empty cell be that of a name. There is one.
func (t *directoryTable) take(hash uint64, name string, rec *Record) {
	i := hash / directoryShards
	for t.cells[i&uint64(len(t.cells)-1)].tag.Load() != 0 {
		i++
	}
	c := &t.cells[i&uint64(len(t.cells)-1)]
	c.name = name
	c.record.Store(rec)
	c.tag.Store(tagOf(hash))
	t.taken++
}

// again returns a table of the living alone, with as much room again for those to come.
func (t *directoryTable) again(seed maphash.Seed) *directoryTable {
	n := 8
	for n*2 < t.live*3 {
		n *= 2
	}
	out := &directoryTable{cells: make([]directoryCell, n)}
	for i := range t.cells {
		if rec := t.cells[i].record.Load(); rec != nil {
			out.take(maphash.String(seed, rec.Name), rec.Name, rec)
			out.live++
		}
	}
	return out
}

// len is how many names there are.
func (d *directory) len() int { return d.size }

// all yields every name, in no order, to who holds the view's mu.
func (d *directory) all() iter.Seq2[string, *Record] {
	return func(yield func(string, *Record) bool) {
		for i := range d.shards {
			cells := d.shards[i].Load().cells
			for j := range cells {
				if rec := cells[j].record.Load(); rec != nil && !yield(rec.Name, rec) {
					return
				}
			}
		}
	}
}
