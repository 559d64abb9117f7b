package bus

import (
	"reflect"
	"sync"
	"unsafe" // for go:linkname, too

	"github.com/nats-io/nats-server/v2/server"
)

// A server in this process cannot be killed, but it can be cut off. nats-server has no door for that, so its own methods are used, as
// for the timing in election.go; a renamed one breaks the build, a changed lock TestLostServer.

//go:linkname natsForEachRoute github.com/nats-io/nats-server/v2/server.(*Server).forEachRoute
func natsForEachRoute(s *server.Server, fn func(route unsafe.Pointer))

//go:linkname natsSetNoReconnect github.com/nats-io/nats-server/v2/server.(*client).setNoReconnect
func natsSetNoReconnect(route unsafe.Pointer)

//go:linkname natsCloseConnection github.com/nats-io/nats-server/v2/server.(*client).closeConnection
func natsCloseConnection(route unsafe.Pointer, reason server.ClosedState)

// cutRoutes closes all routes of s without a word to the other side, and says how many there were.
func cutRoutes(s *server.Server) int {
	mu := reflect.ValueOf(s).Elem().FieldByName("mu") // forEachRoute wants the server's lock held
	if !mu.IsValid() || mu.Type() != reflect.TypeFor[sync.RWMutex]() {
		return 0
	}
	lock := (*sync.RWMutex)(unsafe.Pointer(mu.UnsafeAddr()))
	var routes []unsafe.Pointer
	lock.RLock()
	natsForEachRoute(s, func(r unsafe.Pointer) { routes = append(routes, r) })
	lock.RUnlock()
	for _, r := range routes {
		natsSetNoReconnect(r)
		natsCloseConnection(r, server.ReadError)
	}
	return len(routes)
}
