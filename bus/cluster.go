package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
)

// ClusterOptions make a node one of several.
type ClusterOptions struct {
	// Name of the cluster, the same on all nodes ("" : "toolbus").
	Name string
	// Listen is the address for other nodes, such as "10.0.0.1:6222". No host means loopback.
	Listen string
	// Advertise is what other nodes are told to connect to, where that is not Listen; it is then this node's entry in Nodes.
	Advertise string
	// Nodes are the addresses of all nodes, HOST:PORT, this one's included, the same list everywhere. Raft takes the size of the cluster
	// from it: at the very first start nobody is elected before all are there, later a majority will do.
	Nodes []string
	// Secret lets a node in; whoever has it can do everything in the cluster. It is not sent itself, but routes are not encrypted: over
	// networks that are not yours use a tunnel.
	Secret string
}

const (
	defaultClusterName = "toolbus"
	routeUser          = "toolbus"
)

// routePassword is derived, so that any text will do as a secret and the routes never show it.
func (c *ClusterOptions) routePassword() string {
	sum := sha256.Sum256([]byte("toolbus route\x00" + c.Name + "\x00" + c.Secret))
	return hex.EncodeToString(sum[:])
}

// applyCluster checks the options, fills in defaults and finds this node's own entry.
func (n *Node) applyCluster(in *ClusterOptions) error {
	if strings.ContainsAny(n.name, " \t\r\n") {
		return fmt.Errorf("%w: node name %q has white space", ErrBadOptions, n.name)
	}
	if in == nil {
		return nil
	}
	c := *in
	c.Nodes = slices.Clone(in.Nodes)
	if c.Name == "" {
		c.Name = defaultClusterName
	}
	switch {
	case n.name == "":
		return fmt.Errorf("%w: a node of a cluster needs a name", ErrBadOptions)
	case strings.ContainsAny(c.Name, " \t\r\n"):
		return fmt.Errorf("%w: cluster name %q has white space", ErrBadOptions, c.Name)
	case c.Secret == "":
		return fmt.Errorf("%w: a cluster needs a secret", ErrBadOptions)
	case len(c.Nodes) < 2:
		return fmt.Errorf("%w: a cluster has two nodes or more (three to survive the loss of one); a single one runs without", ErrBadOptions)
	}
	seen := map[string]bool{}
	for _, node := range c.Nodes {
		host, port, err := net.SplitHostPort(node)
		if err != nil || host == "" || port == "" || port == "0" {
			return fmt.Errorf("%w: cluster node %q is not HOST:PORT", ErrBadOptions, node)
		}
		if seen[node] {
			return fmt.Errorf("%w: cluster node %q is listed twice", ErrBadOptions, node)
		}
		seen[node] = true
	}
	self, err := c.self()
	if err != nil {
		return err
	}
	n.cluster, n.self = &c, self
	return nil
}

// self finds this node in Nodes: what it advertises, or where it listens, or an address of this machine with the port on which it listens.
func (c *ClusterOptions) self() (string, error) {
	want := c.Advertise
	if want == "" {
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return "", fmt.Errorf("%w: cluster listen address %q: %w", ErrBadOptions, c.Listen, err)
		}
		if host == "" {
			host = "127.0.0.1"
		}
		want = net.JoinHostPort(host, port)
	}
	if slices.Contains(c.Nodes, want) {
		return want, nil
	}
	if c.Advertise == "" {
		local := localAddrs()
		_, port, _ := net.SplitHostPort(want)
		for _, node := range c.Nodes {
			h, p, _ := net.SplitHostPort(node)
			if p != port {
				continue
			}
			addrs, err := net.LookupHost(h)
			if err != nil {
				continue // not ours, or not yet known: the next may be
			}
			for _, a := range addrs {
				if ip := net.ParseIP(a); ip != nil && local[ip.String()] {
					return node, nil
				}
			}
		}
	}
	return "", fmt.Errorf("%w: this node (%s) is not in the list of nodes (%s); list all, this one included, or set what it advertises",
		ErrBadOptions, want, strings.Join(c.Nodes, ", "))
}

func localAddrs() map[string]bool {
	local := map[string]bool{}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return local
	}
	for _, a := range addrs {
		if ipnet, ok := a.(*net.IPNet); ok {
			local[ipnet.IP.String()] = true
		}
	}
	return local
}
