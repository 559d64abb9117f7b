package bus

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// The ports that FreeAddrs tries: below those that systems give to outgoing connections, one of which could else take a port between its choice
// and its use.
const (
	firstFreePort = 20000
	lastFreePort  = 32000
)

// FreeAddrs finds n addresses on loopback, with ports that nobody listens on now, for nodes of one machine that have to know each other's addresses before
// they start. Another process may still take one first: ErrAddressInUse then, when the node starts.
func FreeAddrs(n int) ([]string, error) {
	var addrs []string
	var err error
	for tries := 0; len(addrs) < n; tries++ {
		if tries > 100*n {
			return nil, fmt.Errorf("bus: no free ports: %w", err)
		}
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstFreePort+rand.N(lastFreePort-firstFreePort))); err != nil {
			continue
		}
		defer l.Close() // all are held until all are known: no address twice
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
