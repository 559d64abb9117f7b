package bus_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

// A node tells its clients the address that it was given for them, and not the one on which it listens.
func TestNodeAdvertise(t *testing.T) {
	n := bustest.Node(t, &bus.NodeOptions{Listen: "127.0.0.1:0", Advertise: "gate.example:4333"})
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Host string `json:"host"`
		Port int    `json:"port"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info); err != nil {
		t.Fatal(err)
	}
	if info.Host != "gate.example" || info.Port != 4333 {
		t.Errorf("the node says it is at %s:%d; want gate.example:4333", info.Host, info.Port)
	}
	for _, bad := range []string{"gate.example", ":4222", "gate.example:0"} {
		if n, err := bus.StartNode(t.Context(), &bus.NodeOptions{Advertise: bad}); !errors.Is(err, bus.ErrBadOptions) {
			t.Errorf("advertise %q: %v; want ErrBadOptions", bad, err)
			if err == nil {
				n.Close()
			}
		}
	}
}
