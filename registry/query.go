package registry

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Query chooses names. All that is set has to be true of a name; the zero Query chooses every name.
type Query struct {
	Pattern  string // as ParsePattern reads it; "" is every name
	Selector string // as ParseSelector reads it, for the labels; "" is all
	Session  string // the owner's session
	Node     string // the owner's node
	Kind     string

	After string // only names after this one: the Next of the page before
	Limit int    // the most names of one page; 0 or less is no limit
	Total bool   // count all that match, on any page, also where that means to look at more than the page
}

// Page is one page of what a query chose, ordered by name.
type Page struct {
	Records []Record `json:"records"` // with the groups of their instances; their maps are the view's own: do not change them
	Next    string   `json:"next"`    // the After of the next page; "" where this was the last
	Total   int      `json:"total"`   // how many match, on any page; -1 where it was neither asked for nor known without counting

	Freshness // of this page; the next one may be of a later revision
}

// Find returns a page of the names that q chooses, from the view, without I/O. It looks no further than it has to: at the names that begin or end
// as the pattern does, or at those of the session, node, kind or label, whichever are fewest. Pages are stable: a name that is there all the time
// is on exactly one of them, whatever comes and goes meanwhile. Errors: ErrBadPattern, ErrBadSelector, ErrBadName for After. It may be called
// concurrently; a long answer delays the view.
func (r *Registry) Find(q Query) (Page, error) {
	age, known := r.Age() // before reading: it is a bound
	page, err := r.view.find(q)
	page.Age, page.Known = age, known
	return page, err
}

// Count says how many names q chooses, whatever its After and Limit. Errors as for Find.
func (r *Registry) Count(q Query) (int, error) { return r.view.count(q) }

// Find is as Registry.Find, in the snapshot.
func (s *Snapshot) Find(q Query) (Page, error) { return s.v.find(q) }

// Count is as Registry.Count, in the snapshot.
func (s *Snapshot) Count(q Query) (int, error) { return s.v.count(q) }

// filter is a query that was read.
type filter struct {
	Query
	pattern  Pattern
	selector Selector
}

func (q Query) parse() (f filter, err error) {
	f.Query = q
	if q.Pattern != "" {
		if f.pattern, err = ParsePattern(q.Pattern); err != nil {
			return f, err
		}
	}
	if f.selector, err = ParseSelector(q.Selector); err != nil {
		return f, err
	}
	if q.After != "" {
		if f.After, err = ParseName(q.After); err != nil {
			return f, fmt.Errorf("after: %w", err)
		}
	}
	return f, nil
}

func (f *filter) match(rec *Record) bool {
	return (f.Session == "" || rec.Session == f.Session) && (f.Node == "" || rec.Node == f.Node) && (f.Kind == "" || rec.Kind == f.Kind) &&
		f.pattern.Match(rec.Name) && f.selector.Match(rec.Labels)
}

// source is where the names that a query may choose are found.
type source struct {
	size  int                                // how many names it has
	exact bool                               // they match, all of them
	from  func(name string) iter.Seq[string] // in order, from name on
}

// source finds the smallest source for f. It runs under mu.
func (v *view) source(f *filter) source {
	x := v.index
	others := 0 // conditions beside the pattern
	for _, set := range []bool{f.Session != "", f.Node != "", f.Kind != ""} {
		if set {
			others++
		}
	}
	others += len(f.selector.conditions)
	best := v.patternSource(f.pattern)
	best.exact = best.exact && others == 0
	sole := others == 1 && f.pattern.kind == every
	take := func(set *ordered, exact bool) {
		if set.len() < best.size || exact {
			best = source{size: set.len(), exact: exact, from: set.from}
		}
	}
	if f.Session != "" && len(v.keys[f.Session]) < best.size {
		best = v.sessionSource(f.Session)
	}
	if f.Node != "" {
		take(x.facets[facet{kind: byNode}][f.Node], sole)
	}
	if f.Kind != "" {
		take(x.facets[facet{kind: byKind}][f.Kind], sole)
	}
	for _, c := range f.selector.conditions {
		values := x.facets[facet{byLabel, c.key}]
		switch {
		case c.op == in && len(c.values) == 1:
			take(values[c.values[0]], sole)
		case c.op == in || c.op == has:
			if s := unionSource(values, &c, sole); s.size < best.size || s.exact {
				best = s
			}
		}
	}
	return best
}

// patternSource is the names that begin as a pattern does, or those that end so, where they are much fewer: they have to be sorted.
func (v *view) patternSource(p Pattern) source {
	x := v.index
	switch p.kind {
	case every:
		return source{size: x.names.len(), exact: true, from: x.names.from}
	case literal:
		if v.names.find(p.text) == nil {
			return listSource(nil, true)
		}
		return listSource([]string{p.text}, true)
	}
	heads := source{size: x.names.len(), from: x.names.from}
	if p.head != "" {
		end := p.head[:len(p.head)-1] + "/" // the next byte after the dot
		heads = source{size: x.names.rank(end) - x.names.rank(p.head), exact: p.kind == below, from: func(name string) iter.Seq[string] {
			return upTo(x.names.from(max(name, p.head)), func(name string) bool { return strings.HasPrefix(name, p.head) })
		}}
	}
	if p.tail == "" {
		return heads
	}
	first, end := p.tail, "/"+p.tail[1:]
	if size := x.endings.rank(end) - x.endings.rank(first); size < heads.size/4 {
		names := make([]string, 0, size)
		for name := range x.endings.from(first) {
			if !strings.HasSuffix(name, p.tail) {
				break
			}
			names = append(names, name)
		}
		slices.Sort(names)
		return listSource(names, false)
	}
	return heads
}

// sessionSource is the names of a session: its records, sorted.
func (v *view) sessionSource(session string) source {
	var names []string
	for key := range v.keys[session] {
		kind, name := splitKey(key)
		if kind == kindReplica { // of a shared name, whose own record may be another's
			name, _, _ = splitGroup(name)
		}
		if (kind == kindName || kind == kindReplica) && v.names.find(name) != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return listSource(slices.Compact(names), false)
}

// unionSource is the names that have a label, with any of some values or with any at all.
func unionSource(values map[string]*ordered, c *condition, exact bool) source {
	s := source{exact: exact}
	var sets []*ordered
	add := func(set *ordered) {
		if set != nil {
			sets = append(sets, set)
			s.size += set.len()
		}
	}
	if c.op == in {
		for _, value := range c.values {
			add(values[value])
		}
	} else {
		for _, set := range values {
			add(set)
		}
	}
	s.from = func(name string) iter.Seq[string] { return union(sets, name) }
	return s
}

// listSource is names that are sorted already.
func listSource(names []string, exact bool) source {
	return source{size: len(names), exact: exact, from: func(name string) iter.Seq[string] {
		at, _ := slices.BinarySearch(names, name)
		return slices.Values(names[at:])
	}}
}

// upTo ends a sequence at the first text that is not ok.
func upTo(names iter.Seq[string], ok func(string) bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range names {
			if !ok(name) || !yield(name) {
				return
			}
		}
	}
}

// find answers a query in one reading of the view.
func (v *view) find(q Query) (Page, error) {
	f, err := q.parse()
	if err != nil {
		return Page{Total: -1}, err
	}
	v.lockIndex()
	defer v.mu.RUnlock()
	src := v.source(&f)
	page := Page{Total: -1, Freshness: Freshness{Revision: v.revision}}
	if src.exact && f.Limit > 0 {
		page.Records = make([]Record, 0, min(f.Limit, src.size))
	}
	for name := range src.from(f.After) {
		rec := v.names.find(name)
		if name == f.After || rec == nil || !src.exact && !f.match(rec) {
			continue
		}
		if f.Limit > 0 && len(page.Records) == f.Limit {
			page.Next = page.Records[f.Limit-1].Name
			break
		}
		page.Records = append(page.Records, v.withGroups(rec))
	}
	switch {
	case src.exact:
		page.Total = src.size
	case f.After == "" && page.Next == "":
		page.Total = len(page.Records)
	case f.Total:
		page.Total = v.counted(&f, src)
	}
	return page, nil
}

func (v *view) count(q Query) (int, error) {
	f, err := q.parse()
	if err != nil {
		return 0, err
	}
	v.lockIndex()
	defer v.mu.RUnlock()
	return v.counted(&f, v.source(&f)), nil
}

// counted counts what a query chooses. It runs under mu.
func (v *view) counted(f *filter, src source) (n int) {
	if src.exact {
		return src.size
	}
	for name := range src.from("") {
		if rec := v.names.find(name); rec != nil && f.match(rec) {
			n++
		}
	}
	return n
}

// withGroups is a record with the groups of its instance. It runs under mu.
func (v *view) withGroups(rec *Record) Record {
	c := *rec
	if joined := v.joined[rec.Instance]; len(joined) > 0 {
		c.Groups = slices.Sorted(maps.Keys(joined))
	}
	return c
}
