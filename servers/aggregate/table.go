package aggregate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// contribution is what one server brings into the table.
type contribution struct {
	server    string
	age       uint64 // the lower, the older its registration
	resources bool   // it may have resources
	lists     [kinds][]item
}

// entry is one line of the table: what is shown, and whose it is.
type entry struct {
	exposed string
	server  string
	key     string          // what the server calls it
	raw     json.RawMessage // as it is shown
	tmpl    *item           // of a template
	prefix  string          // of a template whose server has to be named
}

// place is where a request goes: a server, and what that calls the thing that is meant.
type place struct{ server, key string }

// table says what is shown under which name, and what that means. It never changes.
type table struct {
	lists    [kinds][]*entry // sorted by what is shown
	exposed  [kinds]map[string]*entry
	verbatim map[string]*entry            // a URI that several servers have: the oldest one's
	renamed  map[string]map[string]string // by server: its URIs that are shown under another
	sources  []string                     // the servers that may have resources, the oldest first
}

// newTable makes the table of what the servers have.
func newTable(from []contribution) *table {
	from = slices.Clone(from)
	slices.SortFunc(from, func(a, b contribution) int {
		return cmp.Or(cmp.Compare(a.age, b.age), strings.Compare(a.server, b.server))
	})
	t := &table{verbatim: map[string]*entry{}, renamed: map[string]map[string]string{}}
	for k := range kinds {
		t.exposed[k] = map[string]*entry{}
		if k == tools || k == prompts {
			t.addNames(k, from)
		} else {
			t.addURIs(k, from)
		}
		slices.SortFunc(t.lists[k], func(a, b *entry) int { return strings.Compare(a.exposed, b.exposed) })
	}
	for _, c := range from {
		if c.resources {
			t.sources = append(t.sources, c.server)
		}
	}
	return t
}

// addNames adds tools or prompts. Names that need no hash come first, so that none of them is ever taken by a hash.
func (t *table) addNames(k kind, from []contribution) {
	for _, hashed := range []bool{false, true} {
		for _, c := range from {
			for i := range c.lists[k] {
				it := &c.lists[k][i]
				exposed, ok := plainName(c.server, it.key)
				if ok == hashed {
					continue
				}
				for n := 0; hashed && n < len(hashDigits); n++ {
					exposed = hashedName(c.server, it.key, hashDigits[n])
					if e := t.exposed[k][exposed]; e == nil || e.server == c.server && e.key == it.key {
						break
					}
				}
				t.add(k, &entry{exposed: exposed, server: c.server, key: it.key}, it)
			}
		}
	}
}

// addURIs adds resources or templates.
func (t *table) addURIs(k kind, from []contribution) {
	owners := map[string][]string{}
	for _, c := range from {
		for _, it := range c.lists[k] {
			if have := owners[it.key]; len(have) == 0 || have[len(have)-1] != c.server {
				owners[it.key] = append(have, c.server)
			}
		}
	}
	for _, c := range from {
		for i := range c.lists[k] {
			it := &c.lists[k][i]
			e := &entry{exposed: it.key, server: c.server, key: it.key}
			if len(owners[it.key]) > 1 {
				e.prefix = "mcp+" + c.server + ":"
				e.exposed = e.prefix + it.key
				if k == resources {
					if t.verbatim[it.key] == nil {
						t.verbatim[it.key] = e
					}
					if t.renamed[c.server] == nil {
						t.renamed[c.server] = map[string]string{}
					}
					t.renamed[c.server][it.key] = e.exposed
				}
			}
			t.add(k, e, it)
		}
	}
}

// add adds a line. Of what a server lists twice the first counts.
func (t *table) add(k kind, e *entry, it *item) {
	if t.exposed[k][e.exposed] != nil {
		return
	}
	e.raw = it.as(e.exposed)
	if k == templates {
		e.tmpl = it
	}
	t.exposed[k][e.exposed] = e
	t.lists[k] = append(t.lists[k], e)
}

// named finds a tool, a prompt or a template by what it is called here.
func (t *table) named(k kind, name string) (place, bool) {
	e := t.exposed[k][name]
	if e == nil {
		return place{}, false
	}
	return place{e.server, e.key}, true
}

// resource finds whose a URI is: as it is listed, or by the longest template that fits. A URI that several servers list is the oldest one's.
func (t *table) resource(uri string) (place, bool) {
	e := t.exposed[resources][uri]
	if e == nil {
		e = t.verbatim[uri]
	}
	if e != nil {
		return place{e.server, e.key}, true
	}
	var best *entry
	for _, e := range t.lists[templates] {
		rest, ok := strings.CutPrefix(uri, e.prefix)
		if ok && e.tmpl.match != nil && (best == nil || len(e.exposed) > len(best.exposed)) && e.tmpl.match.MatchString(rest) {
			best = e
		}
	}
	if best == nil {
		return place{}, false
	}
	return place{best.server, strings.TrimPrefix(uri, best.prefix)}, true
}

// shown is what a URI of a server's is called here.
func (t *table) shown(server, uri string) string {
	if other, ok := t.renamed[server][uri]; ok {
		return other
	}
	return uri
}

// differs tells which lists of two tables show something else.
func (t *table) differs(other *table) (s kindSet) {
	for k := range kinds {
		same := slices.EqualFunc(t.lists[k], other.lists[k], func(a, b *entry) bool {
			return a.exposed == b.exposed && a.server == b.server && bytes.Equal(a.raw, b.raw)
		})
		if !same {
			s |= 1 << k
		}
	}
	return s
}
