package registry_test

import (
	"context"
	"fmt"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// pg:start_link/1: a scope is a log of its own, so the same name in two scopes is two names.
func ExampleOpen_scopes() {
	ctx := context.Background()
	east := must(registry.Open(ctx, kvstore.NewMemory(nil), &registry.Options{Scope: "east"}))
	defer east.Close(ctx)
	west := must(registry.Open(ctx, kvstore.NewMemory(nil), &registry.Options{Scope: "west"}))
	defer west.Close(ctx)

	must(must(east.NewSession(ctx, nil)).Register(ctx, "calculator", nil))
	must(must(west.NewSession(ctx, nil)).Register(ctx, "calculator", nil))
	fmt.Println(east.Scope(), east.Names(), west.Scope(), west.Names())
	// Output: east [calculator] west [calculator]
}

// pg:join/3, once for each instance: joining again changes nothing.
func ExampleSession_Join() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "tools", nil)
	one.Join(ctx, "tools", nil)
	one.Join(ctx, "prompts", nil)
	other.Join(ctx, "tools", nil)

	tools := must(reg.Members("tools"))
	fmt.Println(reg.Groups(), len(tools), tools[0].Session == one.ID())
	// Output: [prompts tools] 2 true
}

// syn:join/4: what is said about a member is shown to all.
func ExampleSession_Join_metadata() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "tools", &registry.JoinOptions{Instance: "gpu-1", Metadata: map[string]string{"zone": "b"}})
	for _, m := range must(reg.Members("tools")) {
		fmt.Println(m.Instance, m.Metadata["zone"])
	}
	// Output: gpu-1 b
}

// pg:leave/3. An empty group does not exist.
func ExampleMembership_Leave() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	m := must(one.Join(ctx, "tools", nil))
	fmt.Println(reg.Groups())
	m.Leave(ctx)
	fmt.Println(reg.Groups())
	// Output:
	// [tools]
	// []
}

// pg:get_members/2, the oldest first.
func ExampleRegistry_Members() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "tools", &registry.JoinOptions{Instance: "z"})
	other.Join(ctx, "tools", &registry.JoinOptions{Instance: "a"})
	for _, m := range must(reg.Members("tools")) {
		fmt.Println(m.Instance)
	}
	fmt.Println(len(must(reg.Members("nobody"))))
	// Output:
	// z
	// a
	// 0
}

// pg:get_local_members/2: those of this node. Two nodes here share a log and messages in memory.
func ExampleRegistry_LocalMembers() {
	ctx := context.Background()
	world := registrytest.NewWorld(time.Minute)
	open := func(node string) *registry.Registry {
		return must(registry.Open(ctx, world.Log, &registry.Options{Node: node, Peers: world.Hub.Connect(node, nil)}))
	}
	a, b := open("a"), open("b")
	defer a.Close(ctx)
	defer b.Close(ctx)
	must(must(a.NewSession(ctx, nil)).Join(ctx, "tools", nil))
	must(must(b.NewSession(ctx, nil)).Join(ctx, "tools", nil))
	a.WaitFor(ctx, b.Revision())

	local := must(a.LocalMembers("tools"))
	fmt.Println(len(must(a.Members("tools"))), len(local), local[0].Node)
	// Output: 2 1 a
}

// pg:which_groups/1.
func ExampleRegistry_Groups() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "tools", nil)
	one.Join(ctx, "prompts", nil)
	fmt.Println(reg.Groups())
	// Output: [prompts tools]
}

// pg:monitor_scope/1: what is there, a mark, then every change in order, with its reason.
func ExampleRegistry_Watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reg, one, other := two(ctx)
	defer reg.Close(context.Background())
	one.Register(ctx, "calculator", nil)

	for ev := range reg.Watch(ctx, nil) {
		switch ev.Kind {
		case registry.Registered:
			fmt.Println("registered", ev.Record.Name)
			if ev.Record.Name == "weather" {
				go one.Close(ctx)
			}
		case registry.Unregistered:
			fmt.Println("unregistered", ev.Record.Name, "because it was", ev.Reason)
			cancel()
		case registry.Synced:
			fmt.Println("that is all there was")
			go other.Register(ctx, "weather", nil)
		}
	}
	// Output:
	// registered calculator
	// that is all there was
	// registered weather
	// unregistered calculator because it was closed
}

// pg:monitor/2: one group.
func ExampleRegistry_Watch_group() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reg, one, _ := two(ctx)
	defer reg.Close(context.Background())
	m := must(one.Join(ctx, "tools", &registry.JoinOptions{Instance: "i"}))
	one.Join(ctx, "prompts", nil)

	for ev := range reg.Watch(ctx, &registry.WatchOptions{Group: "tools"}) {
		fmt.Printf("%s %q %q\n", ev.Kind, ev.Member.Instance, ev.Reason)
		switch ev.Kind {
		case registry.Synced:
			go m.Leave(ctx)
		case registry.Left:
			cancel()
		}
	}
	// Output:
	// joined "i" ""
	// synced "" ""
	// left "i" "left"
}
