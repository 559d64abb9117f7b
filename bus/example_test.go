package bus_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/toolbus/toolbus/bus"
)

// A node, two connections to it, a request and its answer; no port is opened.
func Example() {
	ctx := context.Background()
	node, err := bus.StartNode(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	server, err := node.Connect(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	if _, err := server.Handle("greet", "", func(_ context.Context, m *bus.Message) {
		m.Respond([]byte("hello, " + string(m.Data)))
	}, nil); err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Flush(ctx); err != nil { // the node knows of it now
		fmt.Println(err)
		return
	}

	client, err := node.Connect(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	answer, err := client.Request(ctx, "greet", []byte("bus"))
	fmt.Println(string(answer), err)
	_, err = client.Request(ctx, "nobody", nil)
	fmt.Println(errors.Is(err, bus.ErrNoResponders))
	// Output:
	// hello, bus <nil>
	// true
}

// A node learns of every connection that ends, anywhere in its cluster.
func ExampleConn_NotifyLost() {
	ctx := context.Background()
	node, err := bus.StartNode(ctx, &bus.NodeOptions{Listen: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	watcher, err := node.Connect(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer watcher.Close()
	client, err := bus.Connect(ctx, node.URL(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, id, _ := client.Link() // what the event will name
	lost := make(chan string, 16)
	stop := watcher.NotifyLost(func(s, c, reason string) {
		if s == server && c == id {
			lost <- reason
		}
	})
	defer stop()
	client.Close()
	fmt.Println(<-lost)
	// Output: closed
}
