package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/bus"
)

// demoNodeConfig is what a node of the demo is told.
type demoNodeConfig struct {
	Name, Dir, Scope string
	Cluster          string // its own address for the other nodes
	Join             []string
	Secret           string
	Serves           string // a tool server that lives in the node's own process, so that something dies with it
}

// demoNodeCommand is one node: what `up` runs, told by the demo, and ended by its death.
func demoNodeCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "demo-node",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var c demoNodeConfig
			say, _, err := asChild(e.stdin, e.stdout, &c)
			if err != nil {
				return usage("toolbus demo", "%s", err)
			}
			line, err := e.demoNode(cmd.Context(), c)
			if err != nil {
				say(demoLine{Error: plain(err), InUse: errors.Is(err, bus.ErrAddressInUse)})
				return err
			}
			say(line)
			<-cmd.Context().Done() // until stdin ends, which ends the process
			return interrupted(cmd.Context())
		},
	}
}

func (e *env) demoNode(ctx context.Context, c demoNodeConfig) (demoLine, error) {
	e.scope, e.server = c.Scope, ""
	opts := &bus.NodeOptions{
		Name: c.Name, Dir: c.Dir, Listen: "127.0.0.1:0", Logger: e.logger(true),
		Cluster: &bus.ClusterOptions{Listen: c.Cluster, Nodes: c.Join, Secret: c.Secret},
	}
	r, err := e.startNode(ctx, opts, nodeTTL)
	if err != nil {
		return demoLine{}, err
	}
	line := demoLine{Ready: true, URL: r.node.URL()}
	if c.Serves != "" {
		began := time.Now()
		host, err := hostDemo(ctx, r.conn, r.reg, kindTools, c.Serves, e.logger(true))
		if err != nil {
			return line, err
		}
		line.Instance, line.Token, line.Took = host.instance, host.token, time.Since(began)
	}
	return line, nil
}
