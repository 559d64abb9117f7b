package bus

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// What the system account tells: a connection that ended ($SYS.ACCOUNT.<account>.DISCONNECT, half a millisecond after the kernel closed a killed
// process' socket) and a server that shuts down. A server that is killed tells nothing at all, and neither do its clients: that is seen by its
// routes, in peers.go. Delivery is at most once. So all of this is evidence and never proof; whoever acts on it asks again.

const (
	subjDisconnect = "$SYS.ACCOUNT." + appAccount + ".DISCONNECT"
	subjShutdown   = "$SYS.SERVER.*.SHUTDOWN"
	// A lame duck sends this and then no event at all: not those of the clients that it moves, and no SHUTDOWN.
	subjLameDuck = "$SYS.SERVER.*.LAMEDUCK"
)

// The reasons that NotifyLost gives. Others are NATS' own text in lower case, such as "slow consumer (pending bytes)".
const (
	LostClosed   = "closed"     // the connection was closed by the client, or its process ended and nothing was under way
	LostRead     = "read error" // the connection broke: the process was killed, or its host was
	LostStale    = "stale"      // no answer to the server's pings
	LostKicked   = "kicked"     // an operator threw it out
	LostShutdown = "shutdown"   // a whole server, in good order
	LostRoute    = "route"      // a whole server, or the way to it
)

func lostReason(text string) string {
	switch text {
	case "Client Closed":
		return LostClosed
	case "Read Error", "Write Error":
		return LostRead
	case "Stale Connection":
		return LostStale
	case "Kicked":
		return LostKicked
	}
	return strings.ToLower(text)
}

// disconnectEvent is the part of NATS' DisconnectEventMsg that matters here.
type disconnectEvent struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Client struct {
		ID   uint64 `json:"id"`
		Kind string `json:"kind"`
	} `json:"client"`
	Reason string `json:"reason"`
}

// watchEvents subscribes on the node's system connection.
func (n *Node) watchEvents() error {
	if _, err := n.sys.Subscribe(subjDisconnect, func(m *nats.Msg) {
		var ev disconnectEvent
		if err := json.Unmarshal(m.Data, &ev); err != nil || ev.Server.ID == "" || ev.Client.ID == 0 {
			n.log.Warn("unreadable disconnect event", "node", n.name, "error", err)
			return
		}
		if ev.Client.Kind != "" && ev.Client.Kind != "Client" {
			return // a leaf node's link: its clients were never named
		}
		n.tellLost(ev.Server.ID, strconv.FormatUint(ev.Client.ID, 10), lostReason(ev.Reason))
	}); err != nil {
		return fmt.Errorf("bus: watch disconnects: %w", err)
	}
	for _, subject := range []string{subjShutdown, subjLameDuck} {
		if _, err := n.sys.Subscribe(subject, n.serverEvent); err != nil {
			return fmt.Errorf("bus: watch shutdowns: %w", err)
		}
	}
	if err := n.sys.FlushTimeout(startTimeout); err != nil {
		return fmt.Errorf("bus: watch events: %w", err)
	}
	return nil
}

func (n *Node) serverEvent(m *nats.Msg) {
	tokens := strings.Split(m.Subject, ".") // $SYS.SERVER.<id>.<event>
	if len(tokens) != 4 || tokens[2] == n.ID() || n.peers == nil {
		return
	}
	n.peers.shutdown(tokens[2], tokens[3] == "LAMEDUCK")
}

func (n *Node) tellLost(server, client, reason string) {
	n.lost.tell(func(fn func(server, client, reason string)) { fn(server, client, reason) })
}

// SystemAccount says whether the connection sees the cluster's events: true for those that a node made, false for all others.
func (c *Conn) SystemAccount() bool { return c.node != nil }

// NotifyLost calls fn when another connection of the cluster has ended: client is its id, server the server that it was connected to, both as
// Link of its owner named them. With client "" the whole server is lost, and with it whoever was connected to it; a server that is lost by its
// route may be alive on the other side of a partition, and may come back under the same id. Reasons: the Lost constants, or NATS' text.
//
// It fires only on a node's connection (SystemAccount). Events are told in order, never concurrently, at most once; fn is to be quick,
// since the next one waits for it. The returned stop waits until fn does not run: do not call it from fn.
func (c *Conn) NotifyLost(fn func(server, client, reason string)) (stop func()) {
	if c.node == nil {
		return func() {}
	}
	return c.node.lost.add(fn, nil)
}
