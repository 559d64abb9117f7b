package registry

import (
	"cmp"
	"slices"
	"strings"
)

// watcher is one reader's buffer, and what he wants in it. The view fills it and closes it when it is full.
type watcher struct {
	opts     WatchOptions
	names    []string // any of these names, where opts has none
	pattern  Pattern
	selector Selector
	news     chan Event
	lost     Event       // that news had no room for; set before it is closed
	take     func(Event) // in the place of news: called under the view's lock, and must not wait
}

// newWatcher reads options.
func newWatcher(opts *WatchOptions) (*watcher, error) {
	w := &watcher{}
	if opts != nil {
		w.opts = *opts
	}
	if w.opts.Buffer <= 0 {
		w.opts.Buffer = 1024
	}
	for _, name := range []*string{&w.opts.Name, &w.opts.Group} {
		if *name == "" {
			continue
		}
		folded, err := ParseName(*name)
		if err != nil {
			return nil, err
		}
		*name = folded
	}
	var err error
	if w.opts.Property != "" {
		if w.opts.Property, err = ParseKey(w.opts.Property); err != nil {
			return nil, err
		}
	}
	if w.opts.Pattern != "" {
		if w.pattern, err = ParsePattern(w.opts.Pattern); err != nil {
			return nil, err
		}
	}
	if w.selector, err = ParseSelector(w.opts.Selector); err != nil {
		return nil, err
	}
	w.news = make(chan Event, w.opts.Buffer)
	return w, nil
}

// topics are the keys of all that the watcher wants; none where it is more than some keys.
func (w *watcher) topics() (keys []string) {
	switch {
	case w.opts.Name != "":
		keys = append(keys, nameKey(w.opts.Name))
	case w.opts.Group != "":
		keys = append(keys, kindGroup+"."+w.opts.Group)
	case w.opts.Property != "":
		keys = append(keys, kindProperty+"."+w.opts.Property)
	default:
		for _, name := range w.names {
			keys = append(keys, nameKey(name))
		}
	}
	return keys
}

// topic is the key under which those watch who want this event alone.
func (ev *Event) topic() string {
	switch ev.Kind {
	case Registered, Updated, Unregistered:
		return nameKey(ev.Record.Name)
	case PropertySet, PropertyGone:
		return kindProperty + "." + ev.Property.Key
	default:
		return kindGroup + "." + ev.Member.Group
	}
}

// namesOnly tells whether the watcher chooses among names, and so wants nothing else.
func (w *watcher) namesOnly() bool {
	return w.opts.Name != "" || w.opts.Pattern != "" || !w.selector.Empty() || len(w.names) > 0
}

// wants tells whether an event is of what the watcher chooses, but for the labels.
func (w *watcher) wants(ev *Event) bool {
	switch ev.Kind {
	case Registered, Updated, Unregistered:
		name := ev.Record.Name
		return w.opts.Property == "" && w.opts.Group == "" && (w.opts.Name == "" || w.opts.Name == name) && w.pattern.Match(name) &&
			(len(w.names) == 0 || slices.Contains(w.names, name))
	case PropertySet, PropertyGone:
		return !w.namesOnly() && w.opts.Group == "" && (w.opts.Property == "" || w.opts.Property == ev.Property.Key)
	case Joined, MemberUpdated, Left:
		return w.opts.Property == "" && !w.namesOnly() && (w.opts.Group == "" || w.opts.Group == ev.Member.Group)
	}
	return true
}

// see is an event as the watcher is to be told it, and whether at all: a change of labels may be the beginning or the end of a name to him.
func (w *watcher) see(ev Event) (Event, bool) {
	if !w.wants(&ev) {
		return ev, false
	}
	before := ev.before
	ev.before = nil
	switch {
	case w.selector.Empty() || ev.Kind == Synced:
		return ev, true
	case ev.Kind != Updated:
		return ev, w.selector.Match(ev.Record.Labels)
	}
	was, now := before != nil && w.selector.Match(before.Labels), w.selector.Match(ev.Record.Labels)
	switch {
	case was && !now:
		ev.Kind, ev.Record, ev.Reason = Unregistered, *before, ReasonUnselected
	case now && !was:
		ev.Kind = Registered
	}
	return ev, was || now
}

// subscribe adds a watcher and returns what is visible at that moment, then Synced.
func (v *view) subscribe(w *watcher) []Event {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Event
	add := func(ev Event, key string) {
		if ev, ok := w.see(ev); ok {
			if e := v.records[key]; e != nil {
				ev.Time = e.when()
			}
			ev.Previous = ev.Revision - 1 // they are told in the order of their revisions
			out = append(out, ev)
		}
	}
	for rec := range v.wanted(w) {
		add(Event{Kind: Registered, Record: *rec, Revision: rec.Revision}, nameKey(rec.Name))
	}
	if !w.namesOnly() {
		for key, sessions := range only(v.having, w.opts.Property) {
			for _, p := range sessions {
				add(Event{Kind: PropertySet, Property: *p, Holders: len(v.having[key]), Revision: p.Revision}, propertyKey(p.Session, p.Key))
			}
		}
		for _, members := range only(v.groups, w.opts.Group) {
			for _, m := range members {
				add(Event{Kind: Joined, Member: *m, Revision: m.Revision}, groupKey(m.Group, m.Instance))
			}
		}
	}
	slices.SortFunc(out, asTold)
	v.enlist(w)
	return append(out, v.syncedNow())
}

// syncedNow is the event that ends what a watch tells first.
func (v *view) syncedNow() Event {
	return Event{Kind: Synced, Revision: v.revision, Previous: v.revision, Time: (&entry{stored: v.stored}).when()}
}

// asTold is the order in which a watch tells what it tells first.
func asTold(a, b Event) int {
	return cmp.Or(cmp.Compare(a.Revision, b.Revision), strings.Compare(a.Record.Name+a.Member.Group, b.Record.Name+b.Member.Group))
}

// wanted yields the visible names that a watcher may want, without a look at the others where it can. It runs under mu.
func (v *view) wanted(w *watcher) func(yield func(*Record) bool) {
	return func(yield func(*Record) bool) {
		names := w.names
		switch {
		case w.opts.Group != "" || w.opts.Property != "":
			return
		case w.opts.Name != "":
			names = []string{w.opts.Name}
		case len(names) > 0:
		case w.pattern.kind == every && w.selector.Empty():
			for _, rec := range v.names.all() {
				if !yield(rec) {
					return
				}
			}
			return
		default:
			v.index.settle()
			for name := range v.source(&filter{pattern: w.pattern, selector: w.selector}).from("") {
				if rec := v.names.find(name); rec != nil && !yield(rec) {
					return
				}
			}
			return
		}
		for _, name := range names {
			if rec := v.names.find(name); rec != nil && !yield(rec) {
				return
			}
		}
	}
}

// only is the part of an index under one key; all of it where the key is empty.
func only[V any](m map[string]map[string]V, key string) map[string]map[string]V {
	if key == "" {
		return m
	}
	return map[string]map[string]V{key: m[key]}
}

// enlist has the watcher told what happens from here on. It runs under mu.
func (v *view) enlist(w *watcher) {
	keys := w.topics()
	if len(keys) == 0 {
		v.watchers[w] = struct{}{}
	}
	for _, key := range keys {
		if v.topics[key] == nil {
			v.topics[key] = map[*watcher]struct{}{}
		}
		v.topics[key][w] = struct{}{}
	}
}

// discharge ends what enlist began. It runs under mu.
func (v *view) discharge(w *watcher) {
	delete(v.watchers, w)
	for _, key := range w.topics() {
		if delete(v.topics[key], w); len(v.topics[key]) == 0 {
			delete(v.topics, key)
		}
	}
}

func (v *view) unsubscribe(w *watcher) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.discharge(w)
}

// tell hands an event to the watchers that want it. It runs under mu and never waits: a full watcher is dropped and learns it.
func (v *view) tell(ev Event) {
	ev.Revision, ev.Previous, ev.Time = v.revision, v.previous, (&entry{stored: v.stored}).when()
	for w := range v.watchers {
		v.hand(w, ev)
	}
	if len(v.topics) > 0 {
		for w := range v.topics[ev.topic()] {
			v.hand(w, ev)
		}
	}
}

func (v *view) hand(w *watcher, ev Event) {
	ev, ok := w.see(ev)
	switch {
	case !ok:
		return
	case w.take != nil:
		w.take(ev)
		return
	}
	select {
	case w.news <- ev:
	default:
		v.discharge(w)
		w.lost = ev
		close(w.news)
	}
}
