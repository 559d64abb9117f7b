package registry

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// index finds names without looking at all of them: by how they begin and end, by node, kind and label. It is a part of the view, brought up to
// date by who reads it next, so that a step of the log costs nothing for it: the end of a thousand names is seen by all who wait for it first.
type index struct {
	names   *ordered
	endings *ordered // the same names, ordered by their endings
	facets  map[facet]map[string]*ordered
	moved   []move // since the last settle
}

// facet is a property by which names are indexed.
type facet struct {
	kind facetKind
	key  string // of a label
}

type facetKind uint8

const (
	byNode facetKind = iota
	byKind
	byLabel
)

// move is what a step did to a name that is or was visible.
type move struct {
	name     string
	was, now *Record
	place    int // among the moves
}

func newIndex() *index {
	return &index{
		names:   &ordered{compare: strings.Compare},
		endings: &ordered{compare: compareEndings},
		facets:  map[facet]map[string]*ordered{},
	}
}

// maxMoved is the most moves that a reader may have to settle: some milliseconds' work.
const maxMoved = 4096

// note takes in that a name has another record, to be settled later.
func (x *index) note(name string, was, now *Record) {
	x.moved = append(x.moved, move{name, was, now, len(x.moved)})
}

// limit settles the moves where they have become too many to wait for a reader.
func (x *index) limit() {
	if len(x.moved) > maxMoved {
		x.settle()
	}
}

// lockIndex is mu.RLock with the index up to date.
func (v *view) lockIndex() {
	for v.mu.RLock(); len(v.index.moved) > 0; v.mu.RLock() {
		v.mu.RUnlock()
		v.mu.Lock()
		v.index.settle()
		v.mu.Unlock()
	}
}

// settle brings the index up to date. Many moves are sorted first: then they come to every set in its order, which costs a tenth. A name that
// moved twice keeps its order.
func (x *index) settle() {
	if len(x.moved) == 0 {
		return
	}
	many := len(x.moved) > 64
	if many {
		slices.SortFunc(x.moved, func(a, b move) int { return cmp.Or(strings.Compare(a.name, b.name), a.place-b.place) })
	}
	for _, m := range x.moved {
		switch {
		case m.was == nil:
			x.names.add(m.name)
		case m.now == nil:
			x.names.remove(m.name)
		}
		x.turn(m)
	}
	if many {
		slices.SortFunc(x.moved, func(a, b move) int { return cmp.Or(compareEndings(a.name, b.name), a.place-b.place) })
	}
	for _, m := range x.moved {
		switch {
		case m.was == nil:
			x.endings.add(m.name)
		case m.now == nil:
			x.endings.remove(m.name)
		}
	}
	if cap(x.moved) > 2*maxMoved {
		x.moved = nil
		return
	}
	clear(x.moved)
	x.moved = x.moved[:0]
}

// turn moves a name from the facets of one record to those of another.
func (x *index) turn(m move) {
	switch {
	case m.was == nil:
		x.enter(facet{kind: byNode}, m.now.Node, m.name)
		x.enter(facet{kind: byKind}, m.now.Kind, m.name)
		for key, value := range m.now.Labels {
			x.enter(facet{byLabel, key}, value, m.name)
		}
	case m.now == nil:
		x.leave(facet{kind: byNode}, m.was.Node, m.name)
		x.leave(facet{kind: byKind}, m.was.Kind, m.name)
		for key, value := range m.was.Labels {
			x.leave(facet{byLabel, key}, value, m.name)
		}
	case m.was.Node != m.now.Node || m.was.Kind != m.now.Kind || !maps.Equal(m.was.Labels, m.now.Labels):
		x.turn(move{name: m.name, was: m.was})
		x.turn(move{name: m.name, now: m.now})
	}
}

func (x *index) enter(f facet, value, name string) {
	if value == "" && f.kind != byLabel {
		return // no query asks for it
	}
	values := x.facets[f]
	if values == nil {
		values = map[string]*ordered{}
		x.facets[f] = values
	}
	set := values[value]
	if set == nil {
		set = &ordered{compare: strings.Compare}
		values[value] = set
	}
	set.add(name)
}

func (x *index) leave(f facet, value, name string) {
	set := x.facets[f][value]
	if set == nil || !set.remove(name) || set.n > 0 {
		return
	}
	if delete(x.facets[f], value); len(x.facets[f]) == 0 {
		delete(x.facets, f)
	}
}
