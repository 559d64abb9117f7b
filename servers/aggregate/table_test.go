package aggregate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// listing makes a contribution of lists as a server would give them.
func listing(t *testing.T, server string, age uint64, lists map[kind][]string) contribution {
	t.Helper()
	c := contribution{server: server, age: age, resources: true}
	for k, keys := range lists {
		var items []string
		for _, key := range keys {
			items = append(items, fmt.Sprintf(`{"title" : "t", "%s":%s,"x":9007199254740993}`, kindInfos[k].key, quote(key)))
		}
		got, _, err := readPage(k, json.RawMessage(fmt.Sprintf(`{"%s":[%s]}`, kindInfos[k].member, strings.Join(items, ","))))
		if err != nil {
			t.Fatal(err)
		}
		c.lists[k] = got
	}
	return c
}

func shownOf(t *table, k kind) (names []string) {
	for _, e := range t.lists[k] {
		names = append(names, e.exposed)
	}
	return names
}

func TestToolsAreRoutedByTheTable(t *testing.T) {
	long := strings.Repeat("long-", 13)
	table := newTable([]contribution{
		listing(t, "b", 2, map[kind][]string{tools: {"get", "get", "x__y", long + "1", long + "2", "a.b"}}),
		listing(t, "team.a", 1, map[kind][]string{tools: {"get"}, prompts: {"get"}}),
		listing(t, "b--x", 3, map[kind][]string{tools: {"y"}}),
	})
	if n := len(table.lists[tools]); n != 7 {
		t.Errorf("%d tools: %q", n, shownOf(table, tools))
	}
	for _, e := range table.lists[tools] {
		if len(e.exposed) > 64 || strings.ContainsFunc(e.exposed, func(r rune) bool { return !accepted(r) }) {
			t.Errorf("%q", e.exposed)
		}
		p, ok := table.named(tools, e.exposed)
		if !ok || p.server != e.server || p.key != e.key {
			t.Errorf("%s means %v", e.exposed, p)
		}
		if want := `{"title" : "t", "name":"` + e.exposed + `","x":9007199254740993}`; string(e.raw) != want {
			t.Errorf("shown as %s", e.raw)
		}
	}
	if p, ok := table.named(tools, "team_a__get"); !ok || p != (place{"team.a", "get"}) {
		t.Errorf("team_a__get: %v", p)
	}
	if p, ok := table.named(tools, "b__x__y"); !ok || p != (place{"b", "x__y"}) {
		t.Errorf("b__x__y: %v", p)
	}
	for _, no := range []string{"get", "b__none", "team.a__get", "b__" + long + "1"} {
		if p, ok := table.named(tools, no); ok {
			t.Errorf("%s means %v", no, p)
		}
	}
}

func TestATakenHashIsMadeLonger(t *testing.T) {
	odd := "a.b"
	taken := strings.TrimPrefix(hashedName("s", odd, 8), "s__")
	for _, order := range [][]string{{odd, taken}, {taken, odd}} {
		table := newTable([]contribution{listing(t, "s", 1, map[kind][]string{tools: order})})
		if p, ok := table.named(tools, "s__"+taken); !ok || p.key != taken {
			t.Errorf("%v: %v", order, p)
		}
		if p, ok := table.named(tools, hashedName("s", odd, 16)); !ok || p.key != odd {
			t.Errorf("%v: %v", order, p)
		}
	}
}

func TestURIsAreVerbatimUntilTheyMeet(t *testing.T) {
	a := listing(t, "a", 2, map[kind][]string{resources: {"file:///x", "file:///a"}, templates: {"file:///{+path}", "db://{id}"}})
	b := listing(t, "b.c", 1, map[kind][]string{resources: {"file:///x"}, templates: {"db://{id}", "db://rows/{id}"}})
	table := newTable([]contribution{a, b})
	if got := shownOf(table, resources); !slices.Equal(got, []string{"file:///a", "mcp+a:file:///x", "mcp+b.c:file:///x"}) {
		t.Errorf("%q", got)
	}
	if got := shownOf(table, templates); !slices.Equal(got, []string{"db://rows/{id}", "file:///{+path}", "mcp+a:db://{id}", "mcp+b.c:db://{id}"}) {
		t.Errorf("%q", got)
	}
	for uri, want := range map[string]place{
		"file:///a":         {"a", "file:///a"},
		"mcp+a:file:///x":   {"a", "file:///x"},
		"mcp+b.c:file:///x": {"b.c", "file:///x"},
		"file:///x":         {"b.c", "file:///x"}, // the oldest's
		"file:///some/y":    {"a", "file:///some/y"},
		"mcp+a:db://7":      {"a", "db://7"},
		"mcp+b.c:db://7":    {"b.c", "db://7"},
		"db://rows/7":       {"b.c", "db://rows/7"},
		"db://7":            {},
		"mcp+x:db://7":      {},
	} {
		if got, _ := table.resource(uri); got != want {
			t.Errorf("%s is %v, want %v", uri, got, want)
		}
	}
	if got := table.shown("a", "file:///x"); got != "mcp+a:file:///x" {
		t.Error(got)
	}
	alone := newTable([]contribution{a})
	if got := alone.shown("a", "file:///x"); got != "file:///x" {
		t.Error(got)
	}
	if s := table.differs(alone); s != 1<<resources|1<<templates {
		t.Errorf("differs in %b", s)
	}
	if s := table.differs(newTable([]contribution{b, a})); s != 0 {
		t.Errorf("the order of the servers matters: %b", s)
	}
}

func TestPagesHoldEachItemOnce(t *testing.T) {
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprintf("tool%02d", i))
	}
	table := newTable([]contribution{listing(t, "s", 1, map[kind][]string{tools: names})})
	var got []string
	cursor, pages := "", 0
	for {
		list, next, err := table.page(tools, cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		var items []struct{ Name string }
		if err := json.Unmarshal(list, &items); err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			got = append(got, strings.TrimPrefix(i.Name, "s__"))
		}
		pages++
		if next == "" {
			break
		}
		cursor = next
	}
	if pages != 3 || !slices.Equal(got, names) {
		t.Errorf("%d pages: %q", pages, got)
	}
	if _, _, err := table.page(tools, "§", 10); err == nil {
		t.Error("a cursor that is none was taken")
	}
	if list, next, err := table.page(prompts, "", 10); err != nil || next != "" || string(list) != "[]" {
		t.Errorf("%s %q %v", list, next, err)
	}
}
