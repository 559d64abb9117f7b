package registry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// two opens a registry in memory and two sessions in it: what two processes are in Erlang.
func two(ctx context.Context) (reg *registry.Registry, one, other *registry.Session) {
	reg = must(registry.Open(ctx, kvstore.NewMemory(nil), nil))
	return reg, must(reg.NewSession(ctx, nil)), must(reg.NewSession(ctx, nil))
}

// global:register_name/2: one winner, and the loser learns who it is.
func ExampleSession_Register() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)

	_, err := one.Register(ctx, "calculator", nil)
	fmt.Println("the first has it:", err == nil)

	_, err = other.Register(ctx, "calculator", nil)
	taken, ok := errors.AsType[*registry.NameTakenError](err)
	fmt.Println("the second is told:", ok, taken.Owner.Session == one.ID())
	// Output:
	// the first has it: true
	// the second is told: true true
}

// Registering again what one holds is ok, and one session may have many names.
func ExampleSession_Register_again() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)

	first := must(one.Register(ctx, "calculator", nil))
	again := must(one.Register(ctx, "calculator", nil))
	must(one.Register(ctx, "weather", nil))
	fmt.Println(reg.Names(), first.Token() == again.Token())
	// Output: [calculator weather] true
}

// global:re_register_name/2: take the name from whoever has it. Who monitors it learns why.
func ExampleSession_Register_replace() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)

	old := must(one.Register(ctx, "calculator", nil))
	down := must(reg.Monitor(ctx, "calculator"))
	next := must(other.Register(ctx, "calculator", &registry.RegisterOptions{Conflict: registry.Replace, Reason: "upgrade"}))
	<-old.Done()
	fmt.Println(errors.Is(old.Err(), registry.ErrLost), next.Serving(), next.Token() > old.Token())
	fmt.Println((<-down).Reason)
	fmt.Println("nobody was killed:", one.Err() == nil)
	// Output:
	// true true true
	// replaced: upgrade
	// nobody was killed: true
}

// global:whereis_name/1: a look-up in this process's own view.
func ExampleRegistry_Whereis() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	one.Register(ctx, "calculator", &registry.RegisterOptions{Kind: "tool"})

	record, err := reg.Whereis("calculator")
	fmt.Println(record.Name, record.Kind, record.Session == one.ID(), err)
	_, err = reg.Whereis("nobody")
	fmt.Println(errors.Is(err, registry.ErrNotFound))
	// Output:
	// calculator tool true <nil>
	// true
}

// global:unregister_name/1, by the owner alone: the call is on what Register returned. The groups go in the same step.
func ExampleRegistration_Unregister() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)

	old := must(one.Register(ctx, "calculator", &registry.RegisterOptions{Groups: []string{"tools"}}))
	fmt.Println(reg.Names(), reg.Groups())
	old.Unregister(ctx)
	fmt.Println(reg.Names(), reg.Groups())

	other.Register(ctx, "calculator", nil)
	fmt.Println(old.Unregister(ctx), reg.Names()) // it is the other's now
	// Output:
	// [calculator] [tools]
	// [] []
	// <nil> [calculator]
}

// global:registered_names/0.
func ExampleRegistry_Names() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Register(ctx, "weather", nil)
	other.Register(ctx, "calculator", nil)
	fmt.Println(reg.Names())
	// Output: [calculator weather]
}

// global:sync/0 and gproc_dist:sync/0: what is read after it is as new as the log was when it was called.
func ExampleRegistry_Refresh() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	held := must(one.Register(ctx, "calculator", nil))

	err := reg.Refresh(ctx)
	fmt.Println(err, reg.Revision() > held.Token())
	// Output: <nil> true
}

// global:set_lock/1 and global:trans/2: a name that one session waits for, in a strict session, with a token that what it guards can check.
func ExampleRegistration_Token() {
	ctx := context.Background()
	reg := must(registry.Open(ctx, kvstore.NewMemory(nil), &registry.Options{TTL: 2 * time.Second, Pulse: 100 * time.Millisecond}))
	defer reg.Close(ctx)
	one := must(reg.NewSession(ctx, &registry.SessionOptions{Mode: registry.Strict}))
	other := must(reg.NewSession(ctx, &registry.SessionOptions{Mode: registry.Strict}))
	var newest kvstore.Revision // what the guarded thing has seen
	write := func(lock *registry.Registration) bool {
		if lock.Token() < newest {
			return false
		}
		newest = lock.Token()
		return true
	}

	first := must(one.Register(ctx, "migration", nil))
	fmt.Println("first writes:", write(first))
	first.Unregister(ctx)
	second := must(other.Register(ctx, "migration", &registry.RegisterOptions{Conflict: registry.Queue}))
	fmt.Println("second writes:", write(second))
	fmt.Println("first, late:", write(first))
	// Output:
	// first writes: true
	// second writes: true
	// first, late: false
}

// erlang:monitor/2 and gproc:monitor(Key, info): one message when the holder holds the name no more, and why.
func ExampleRegistry_Monitor() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	one.Register(ctx, "calculator", nil)

	down := must(reg.Monitor(ctx, "calculator"))
	one.Close(ctx)
	d := <-down
	fmt.Println(d.What, d.Reason)
	// Output: calculator closed
}

// The end of a process: all that its session held is gone at one instant.
func ExampleSession_Close() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Register(ctx, "calculator", &registry.RegisterOptions{Groups: []string{"tools"}})
	one.Register(ctx, "weather", nil)
	other.Register(ctx, "search", &registry.RegisterOptions{Groups: []string{"tools"}})

	one.Close(ctx) // or dies
	count, _ := reg.MemberCount("tools")
	fmt.Println(reg.Names(), count)
	// Output: [search] 1
}
