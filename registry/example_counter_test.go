package registry_test

import (
	"context"
	"fmt"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// What a session says of itself is found by key, and goes with it.
func ExampleSession_SetProperty() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	east, _ := reg.NewSession(ctx, nil)
	west, _ := reg.NewSession(ctx, nil)
	east.SetProperty(ctx, "model", "llama-3-8b")
	west.SetProperty(ctx, "model", "qwen-2-7b")

	model, _ := reg.Property(east.ID(), "model")
	have, _ := reg.CountProperty("model")
	fmt.Println(model, "is one of", have)

	west.Close(ctx) // or dies
	for _, p := range must(reg.FindProperty("model")) {
		fmt.Println("left:", p.Value)
	}
	// Output:
	// llama-3-8b is one of 2
	// left: llama-3-8b
}

// A resource that sessions hold by a property is put away when the last of them has gone, however it went.
func ExampleRegistry_AwaitNone() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	user, _ := reg.NewSession(ctx, nil)
	user.SetProperty(ctx, "uses-index", "")

	gone := make(chan error)
	go func() { gone <- reg.AwaitNone(ctx, "uses-index") }()
	user.Close(ctx) // or dies
	fmt.Println("nobody uses it:", <-gone == nil)
	// Output: nobody uses it: true
}

// Each session counts for itself; the sum is of those that are alive.
func ExampleRegistry_Sum() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	one, _ := reg.NewSession(ctx, nil)
	two, _ := reg.NewSession(ctx, nil)
	must(must(one.Counter("calls")).Add(ctx, 3))
	must(must(two.Counter("calls")).Add(ctx, 4))
	fmt.Println("calls:", must(reg.Sum(ctx, "calls")))

	two.Close(ctx) // or dies
	fmt.Println("calls of who is there:", must(reg.Sum(ctx, "calls")))
	// Output:
	// calls: 7
	// calls of who is there: 3
}

// A reset tells what was there just before it and just after, so that nothing which others add meanwhile is lost.
func ExampleCounter_Reset() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	tokens, _ := reg.SharedCounter("tokens-spent") // it has no owner, and stays
	tokens.Add(ctx, 1200)
	before, after, err := tokens.Reset(ctx)
	fmt.Println(before, after, err)
	// Output: 1200 0 <nil>
}

// Who held a name, until when, and why no longer.
func ExampleRegistry_History() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), &registry.Options{History: kvstore.NewMemoryHistory(nil)})
	defer reg.Close(ctx)
	first, _ := reg.NewSession(ctx, nil)
	first.Register(ctx, "calculator", nil)
	first.Close(ctx)
	second, _ := reg.NewSession(ctx, nil)
	second.Register(ctx, "calculator", nil)

	past, _ := reg.History(ctx, "calculator")
	for len(past.Intervals) < 2 { // it is written behind the log
		time.Sleep(time.Millisecond)
		past, _ = reg.History(ctx, "calculator")
	}
	for _, in := range past.Intervals {
		fmt.Println(in.Name, "held now:", in.Held, in.Reason)
	}
	// Output:
	// calculator held now: false closed
	// calculator held now: true
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
