package registry_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// One pattern language for subjects and for names.
func ExamplePattern() {
	for _, text := range []string{"team-a.>", "*.weather"} {
		p, _ := registry.ParsePattern(text)
		fmt.Println(text, p.Match("team-a.weather"), p.Match("team-b.weather"), p.Match("weather"))
	}
	_, err := registry.ParsePattern("wea*")
	fmt.Println(err)
	// Output:
	// team-a.> true false false
	// *.weather true true false
	// registry: "wea*" is not a pattern: a wildcard is a whole label, "wea*" is not
}

func ExampleSelector() {
	s, _ := registry.ParseSelector("type=tool, lang notin (go,rust), !deprecated")
	fmt.Println(s.Match(map[string]string{"type": "tool", "lang": "python"}))
	fmt.Println(s.Match(map[string]string{"type": "tool", "deprecated": "yes"}))
	_, err := registry.ParseSelector("type=tool lang=go")
	fmt.Println(err)
	// Output:
	// true
	// false
	// registry: "type=tool lang=go" is not a selector: a comma or the end is due, found 'l' at 10
}

// Many names are read in pages, each of which looks no further than it has to.
func ExamplePage() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	s, _ := reg.NewSession(ctx, nil)
	for _, name := range []string{"team-a.calc", "team-a.files", "team-a.weather", "team-b.calc"} {
		s.Register(ctx, name, nil)
	}
	q := registry.Query{Pattern: "team-a.>", Limit: 2}
	for {
		page, err := reg.Find(q)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, rec := range page.Records {
			fmt.Println(rec.Name)
		}
		if q.After = page.Next; q.After == "" {
			fmt.Println("of", page.Total)
			return
		}
		fmt.Println("--")
	}
	// Output:
	// team-a.calc
	// team-a.files
	// --
	// team-a.weather
	// of 3
}

// A conversation stays with one server, whichever process routes its next request.
func ExampleHash() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	s, _ := reg.NewSession(ctx, nil)
	for _, server := range []string{"one", "two", "three"} {
		s.Join(ctx, "tools", &registry.JoinOptions{Instance: server})
	}
	first, _ := reg.Pick("tools", registry.Hash("conversation 17"))
	again, _ := reg.Pick("tools", registry.Hash("conversation 17"))
	fmt.Println(first.Instance == again.Instance)
	// Output: true
}

// A caller knows best how many of its own calls are in flight.
func ExampleLeastBusy() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	s, _ := reg.NewSession(ctx, nil)
	for _, server := range []string{"one", "two"} {
		s.Join(ctx, "tools", &registry.JoinOptions{Instance: server})
	}
	inFlight := map[string]float64{"one": 3, "two": 1}
	m, _ := reg.Pick("tools", registry.LeastBusy(func(m registry.Member) float64 { return inFlight[m.Instance] }))
	fmt.Println(m.Instance)
	// Output: two
}

// A browser is used by one conversation at a time: the others wait their turn.
func ExampleClaim() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	s, _ := reg.NewSession(ctx, nil)
	s.Join(ctx, "browsers", &registry.JoinOptions{Instance: "firefox"})

	claim, _ := s.Claim(ctx, "browsers", nil)
	_, err := s.Claim(ctx, "browsers", nil)
	fmt.Println(claim.Member().Instance, claim.Valid(), errors.Is(err, registry.ErrNoMembers))
	claim.Release(ctx)
	claim, _ = s.Claim(ctx, "browsers", &registry.ClaimOptions{Wait: true})
	fmt.Println(claim.Valid())
	// Output:
	// firefox true true
	// true
}

// A reader that was away learns what has changed, without reading all of it again.
func ExampleWatchOptions_resume() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	s, _ := reg.NewSession(ctx, nil)
	s.Register(ctx, "stays", nil)
	goes, _ := s.Register(ctx, "goes", nil)

	var opts registry.WatchOptions
	read := func() {
		for ev, err := range reg.Watch(ctx, &opts) {
			if err != nil { // ErrTooOld: start over, without Since
				fmt.Println(err)
				return
			}
			if ev.Kind == registry.Synced {
				opts.Since, opts.SinceTime = ev.Revision, ev.Time
				return
			}
			fmt.Println(ev.Kind, ev.Record.Name)
		}
	}
	read()
	fmt.Println("--")
	goes.Unregister(ctx)
	s.Register(ctx, "comes", nil)
	read()
	// Output:
	// registered stays
	// registered goes
	// --
	// unregistered goes
	// registered comes
}
