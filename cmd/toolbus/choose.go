package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/toolbus/toolbus/registry"
)

// chooser is which names a command is about: a pattern, and what the flags of `ls` and `watch` say.
type chooser struct {
	pattern    string
	selectors  []string
	node, kind string
}

func (c *chooser) flags(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&c.selectors, "label", "l", nil, "only servers with these labels, as kubectl writes it: team=core,lang!=go,!old; may be repeated")
	fs.StringVar(&c.node, "node", "", "only servers of `NODE`")
	fs.StringVar(&c.kind, "kind", "", "only servers of `KIND`: stdio, http, go")
}

// words takes the pattern from the arguments. What ends in a dot is the beginning of a name: all that is below it.
func (c *chooser) words(args []string) {
	if len(args) > 0 {
		c.pattern = args[0]
	}
	if strings.HasSuffix(c.pattern, ".") {
		c.pattern += ">"
	}
}

func (c *chooser) query() registry.Query {
	return registry.Query{Pattern: c.pattern, Selector: strings.Join(c.selectors, ","), Node: c.node, Kind: c.kind}
}

// literal is the one name that can match, "" if there may be several.
func (c *chooser) literal() string {
	if c.pattern == "" || strings.ContainsAny(c.pattern, "*>") {
		return ""
	}
	return c.pattern
}

// any tells whether everything is chosen.
func (c *chooser) any() bool { return c.query() == registry.Query{} }

// matcher is a chooser that was read, for one registration after the other.
type matcher struct {
	pattern    registry.Pattern
	selector   registry.Selector
	node, kind string
	shown      map[string]bool // names that were told of and are there
}

func (c *chooser) matcher() (m *matcher, err error) {
	m = &matcher{node: c.node, kind: c.kind, shown: map[string]bool{}}
	if c.pattern != "" {
		if m.pattern, err = registry.ParsePattern(c.pattern); err != nil {
			return nil, err
		}
	}
	m.selector, err = registry.ParseSelector(strings.Join(c.selectors, ","))
	return m, err
}

// match tells whether what happened is about a registration that is chosen, or was until now: who watches the labels of a server has to see
// that it has them no more.
func (m *matcher) match(ev registry.Event) bool {
	rec := ev.Record
	if rec.Name == "" {
		return ev.Kind == registry.Synced
	}
	is := (m.node == "" || rec.Node == m.node) && (m.kind == "" || rec.Kind == m.kind) && m.pattern.Match(rec.Name) && m.selector.Match(rec.Labels)
	was := m.shown[rec.Name]
	if is && ev.Kind != registry.Unregistered {
		m.shown[rec.Name] = true
	} else {
		delete(m.shown, rec.Name)
	}
	return is || was
}
