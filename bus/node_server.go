package bus

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// appAccount is where all clients without credentials are: NATS' global account, as on a plain nats-server. With an account
	// of our own JetStream would have to be enabled for it on each start, and `nats` would need to be told.
	appAccount = "$G"
	sysAccount = "$SYS"
	appUser    = "toolbus"

	// A frozen client or dead host is noticed by its server after pingInterval x (maxPingsOut + 1) at the latest.
	pingInterval = 2 * time.Second
	maxPingsOut  = 2

	// Open atomic batches of one stream: a scope has one stream, and NATS' own limit of 50 refuses a burst of registrations.
	maxBatchInflight = 500
)

// The keys of the server's metadata. It goes with each of the server's events and answers, so nodes know each other's by asking
// $SYS.REQ.SERVER.PING, and `nats server info` shows it.
const (
	metaElection = "toolbus_election"
	metaRoute    = "toolbus_route"
)

// nodeCreds are made anew at each start and never leave the process: the system account can be entered by nobody else.
type nodeCreds struct{ sysUser, sysPass, appPass string }

func newNodeCreds() nodeCreds {
	return nodeCreds{sysUser: "toolbus-system", sysPass: rand.Text(), appPass: rand.Text()}
}

// serverOptions are those of nats-server, but for the store.
func (n *Node) serverOptions(opts *NodeOptions, creds nodeCreds) (*server.Options, error) {
	listen := opts.Listen
	if opts.Advertise != "" {
		if host, port, err := net.SplitHostPort(opts.Advertise); err != nil || host == "" || port == "" || port == "0" {
			return nil, fmt.Errorf("%w: advertised address %q is not HOST:PORT", ErrBadOptions, opts.Advertise)
		}
	}
	sys := server.NewAccount(sysAccount)
	o := &server.Options{
		ServerName:      n.name,
		ClientAdvertise: opts.Advertise,
		NoSigs:          true,
		NoLog:           true,
		MaxControlLine:  4096,
		PingInterval:    pingInterval,
		MaxPingsOut:     maxPingsOut,
		// A client of a listening node moves within the duration; there is nothing to wait for before.
		LameDuckDuration:    500 * time.Millisecond,
		LameDuckGracePeriod: 10 * time.Millisecond,

		JetStream:              true,
		SyncAlways:             true,
		DisableJetStreamBanner: true,
		JetStreamLimits:        server.JSLimitOpts{MaxBatchInflightPerStream: maxBatchInflight},

		Accounts:      []*server.Account{sys},
		SystemAccount: sysAccount,
		NoAuthUser:    appUser,
		Users: []*server.User{
			{Username: appUser, Password: creds.appPass},
			{Username: creds.sysUser, Password: creds.sysPass, Account: sys,
				AllowedConnectionTypes: map[string]struct{}{"IN_PROCESS": {}}},
		},
		Metadata: map[string]string{metaElection: n.election.String()},
	}
	if listen == "" && n.cluster != nil {
		listen = "127.0.0.1:0"
	}
	if listen == "" {
		o.DontListen = true
	} else {
		host, port, err := splitListen(listen)
		if err != nil {
			return nil, err
		}
		o.Host, o.Port = host, port
	}
	if c := n.cluster; c != nil {
		host, port, err := splitListen(c.Listen)
		if err != nil {
			return nil, err
		}
		o.Cluster = server.ClusterOpts{
			Name: c.Name, Host: host, Port: port, Advertise: c.Advertise,
			Username: routeUser, Password: c.routePassword(),
			PingInterval: pingInterval, MaxPingsOut: maxPingsOut,
		}
		// Every node lists all, itself included: Raft's first group takes its size from here.
		for _, node := range c.Nodes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: node, User: url.UserPassword(routeUser, c.routePassword())})
		}
		o.Metadata[metaRoute] = n.self
	}
	return o, nil
}

// splitListen reads HOST:PORT; no host means loopback, port 0 a free one (-1 for nats-server).
func splitListen(addr string) (string, int, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%w: listen address %q: %w", ErrBadOptions, addr, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%w: listen address %q: port %q", ErrBadOptions, addr, text)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}
