package registry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// gproc:reg/3 and syn:register/4: a name with what its owner says about it, visible in the same step on every node.
func ExampleSession_Register_metadata() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	one.Register(ctx, "calculator", &registry.RegisterOptions{Metadata: map[string]string{"version": "1.2"}, Labels: map[string]string{"lang": "go"}})

	record := must(reg.Whereis("calculator"))
	fmt.Println(record.Metadata["version"], record.Labels["lang"])
	// Output: 1.2 go
}

// gproc:set_value/2 and syn:update_registry/3: one write, and the name is never absent.
func ExampleRegistration_Update() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	held := must(one.Register(ctx, "calculator", &registry.RegisterOptions{Metadata: map[string]string{"version": "1.2"}}))
	token := held.Token()

	err := held.Update(ctx, func(r *registry.Record) { r.Metadata["version"] = "1.3" })
	record := must(reg.Whereis("calculator"))
	fmt.Println(err, record.Metadata["version"], "same token:", record.Token == token)
	// Output: <nil> 1.3 same token: true
}

// gproc:reg_or_locate/1: the name, or who has it, without a race between the two.
func ExampleSession_RegisterOrLocate() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)

	mine, _, err := one.RegisterOrLocate(ctx, "calculator", nil)
	fmt.Println("one has it:", mine != nil, err)
	mine, record, err := other.RegisterOrLocate(ctx, "calculator", nil)
	fmt.Println("other has it:", mine != nil, "one has:", record.Session == one.ID(), err)
	// Output:
	// one has it: true <nil>
	// other has it: false one has: true <nil>
}

// gproc:mreg/3: all or none.
func ExampleSession_RegisterMany() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.RegisterMany(ctx, []registry.NameOptions{{Name: "a"}, {Name: "b"}})

	_, err := other.RegisterMany(ctx, []registry.NameOptions{{Name: "c"}, {Name: "b"}})
	fmt.Println(errors.Is(err, registry.ErrNameTaken), reg.Names())
	// Output: true [a b]
}

// gproc:await/2: who holds the name, as soon as somebody does.
func ExampleRegistry_Await() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	go one.Register(ctx, "calculator", nil)
	record, err := reg.Await(ctx, "calculator")
	fmt.Println(record.Session == one.ID(), err)
	// Output: true <nil>
}

// The first of several names.
func ExampleRegistry_AwaitAny() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	go one.Register(ctx, "calculator-b", nil)
	record, err := reg.AwaitAny(ctx, "calculator-a", "calculator-b")
	fmt.Println(record.Name, err)
	// Output: calculator-b <nil>
}

// gproc:give_away/2: one entry of the log, so that at no moment nobody holds the name. The receiver is asked first.
func ExampleRegistration_Transfer() {
	ctx := context.Background()
	reg := must(registry.Open(ctx, kvstore.NewMemory(nil), nil))
	defer reg.Close(ctx)
	got := make(chan *registry.Registration, 1)
	one := must(reg.NewSession(ctx, nil))
	other := must(reg.NewSession(ctx, &registry.SessionOptions{Receiver: &registry.Receiver{
		Received: func(r *registry.Registration) { got <- r },
	}}))
	held := must(one.Register(ctx, "calculator", nil))

	err := held.Transfer(ctx, other.ID())
	next := <-got
	fmt.Println(err, errors.Is(held.Err(), registry.ErrTransferred), next.Session() == other, next.Token() > held.Token())
	// Output: <nil> true true true
}

// gproc:monitor(Key, follow): from owner to owner.
func ExampleRegistry_Follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reg, one, other := two(ctx)
	defer reg.Close(context.Background())
	one.Register(ctx, "calculator", nil)

	for s := range reg.Follow(ctx, "calculator") {
		fmt.Printf("held: %v, the one before: %q\n", s.Held, s.Reason)
		switch {
		case s.Held && s.Owner.Session == one.ID():
			go one.Close(ctx)
		case !s.Held:
			go other.Register(ctx, "calculator", nil)
		default:
			cancel()
		}
	}
	// Output:
	// held: true, the one before: ""
	// held: false, the one before: "closed"
	// held: true, the one before: ""
}

// gproc:monitor(Key, standby): the first living standby has the name in the next step, and no third can slip in.
func ExampleSession_StandBy() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	third := must(reg.NewSession(ctx, nil))
	must(one.Register(ctx, "calculator", nil))
	standby := must(other.StandBy(ctx, "calculator", nil))

	one.Close(ctx) // or dies
	_, err := third.Register(ctx, "calculator", nil)
	next := must(standby.Wait(ctx))
	fmt.Println("a third is told no:", errors.Is(err, registry.ErrNameTaken), "the standby has it:", next.Serving())
	// Output: a third is told no: true the standby has it: true
}

// gproc:select/2 and gproc:next/2: by pattern and labels, in order, in pages.
func ExampleRegistry_Find() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	for name, lang := range map[string]string{"team-a.calc": "go", "team-a.search": "go", "team-a.weather": "js", "team-b.calc": "go"} {
		one.Register(ctx, name, &registry.RegisterOptions{Labels: map[string]string{"lang": lang}})
	}
	q := registry.Query{Pattern: "team-a.>", Selector: "lang=go", Limit: 1}
	for {
		page := must(reg.Find(q))
		for _, r := range page.Records {
			fmt.Println(r.Name)
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
	}
	// Output:
	// team-a.calc
	// team-a.search
}

// gproc:select_count/2 and syn:registry_count/1,2.
func ExampleRegistry_Count() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Register(ctx, "team-a.calc", nil)
	one.Register(ctx, "team-b.calc", nil)
	other.Register(ctx, "team-a.weather", nil)
	fmt.Println(must(reg.Count(registry.Query{})), must(reg.Count(registry.Query{Pattern: "*.calc"})), must(reg.Count(registry.Query{Node: reg.Node()})))
	// Output: 3 2 3
}

// gproc_pool:pick/1: one member, by a strategy.
func ExampleRegistry_Pick() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "tools", &registry.JoinOptions{Instance: "a"})
	other.Join(ctx, "tools", &registry.JoinOptions{Instance: "b"})

	turns := registry.RoundRobin()
	for range 3 {
		fmt.Println(must(reg.Pick("tools", turns)).Instance)
	}
	alice := registry.Hash("alice")
	place := must(reg.Pick("tools", alice)).Instance
	fmt.Println("alice has one place:", must(reg.Pick("tools", alice)).Instance == place)
	// Output:
	// a
	// b
	// a
	// alice has one place: true
}

// gproc_pool:claim/2: one member for one session alone, for a while.
func ExampleSession_Claim() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "gpus", nil)

	claim := must(one.Claim(ctx, "gpus", nil))
	_, err := other.Claim(ctx, "gpus", nil)
	fmt.Println(claim.Valid(), errors.Is(err, registry.ErrNoMembers))
	claim.Release(ctx)
	fmt.Println(must(other.Claim(ctx, "gpus", nil)).Valid())
	// Output:
	// true true
	// true
}
