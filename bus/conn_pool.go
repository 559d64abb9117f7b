package bus

import (
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

// pool remembers the servers of a cluster. nats.go learns them from the server that it is connected to, and forgets again what that one
// no longer sees; a server that was cut off from all others and then dies would leave its clients with nobody to go to, for ever. So when
// the connection is lost, all that were ever known are put back. (Not with TLS: nats.go knows by which name to verify a learnt address,
// and loses that in the call.)
type pool struct {
	mu    sync.Mutex
	known []string
}

// learn adds the present servers of nc.
func (p *pool) learn(nc *nats.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, url := range serverURLs(nc) {
		if !slices.Contains(p.known, url) {
			p.known = append(p.known, url)
		}
	}
}

// serverURLs are complete, with user and password where the URL had them (nc.Servers leaves them out).
func serverURLs(nc *nats.Conn) []string {
	var urls []string
	for _, s := range nc.ServerPool() {
		if s.URL != nil {
			urls = append(urls, s.URL.String())
		}
	}
	return urls
}

// restore gives nc all that were known. It takes the connection's lock, so it does not run in one of its callbacks.
func (p *pool) restore(nc *nats.Conn) error {
	if nc.Opts.Secure {
		return nil
	}
	have := serverURLs(nc)
	p.mu.Lock()
	all := slices.Clone(have)
	for _, url := range p.known {
		if !slices.Contains(have, url) {
			all = append(all, url)
		}
	}
	p.mu.Unlock()
	if len(all) == len(have) {
		return nil
	}
	return nc.SetServerPool(all)
}
