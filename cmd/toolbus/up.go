package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/servers/gateway"
)

// upFlags are what `up` is told.
type upFlags struct {
	name, dir, listen          string
	cluster, advertise, secret string
	join                       []string
	nats                       string
	election, ttl              time.Duration
	urlFile                    string
	gateway                    gatewayFlags
}

func upCommand(e *env) *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "run a node, or a keeper on your own NATS",
		Long: "Up runs a node: a NATS server with JetStream in this process, where every toolbus command looks by default, and the keeper of the\n" +
			"scope. With --nats it runs no server, only a keeper on a NATS of yours. With --cluster the node is one of several: give all of\n" +
			"them the same full list in --join and the same secret; the first start waits for all.",
		Example: "toolbus up\n" +
			"toolbus up --nats nats://nats.internal:4222\n" +
			"toolbus up --name n1 --cluster 10.0.0.1:6222 --join 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222 --secret-file secret",
		Args: exactArgs(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.up(cmd.Context(), f, cmd.Flags().Changed) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.name, "name", "", "the node's `NAME` (default: the host's)")
	fs.StringVar(&f.dir, "dir", "", "`FOLDER` of the node's data (default: under the user's data folder, by name)")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:4222", "`HOST:PORT` for clients; port 0 takes a free one")
	fs.StringVar(&f.cluster, "cluster", "", "`HOST:PORT` for the other nodes of a cluster")
	fs.StringVar(&f.advertise, "advertise", "", "`HOST:PORT` by which others reach this node, where that is not --cluster")
	fs.StringVar(&f.secret, "secret-file", "", "`FILE` with the cluster's secret, the same on all nodes")
	fs.StringSliceVar(&f.join, "join", nil, "the --cluster addresses of all nodes, this one included: `A,B,C`")
	fs.StringVar(&f.nats, "nats", "", "no node: keep the scope on the NATS at `URL`")
	fs.DurationVar(&f.election, "election-timeout", 0, "longest wait for a lost leader, the same on all nodes; longer over wide areas (default "+bus.DefaultElectionTimeout.String()+")")
	fs.DurationVar(&f.ttl, "ttl", 0, "how long an owner may be silent, for a scope that is made now (default 6s, with --nats 20s)")
	fs.StringVar(&f.gateway.listen, "gateway", "", "serve MCP over HTTP as well, at `HOST:PORT`, as `toolbus gateway` does: "+gateway.DefaultAddress+" is usual")
	f.gateway.add(fs)
	fs.StringVar(&f.urlFile, "url-file", "", "write the URL to `FILE` once the node can be used")
	return cmd
}

// up runs until a signal comes or the server under it is gone.
func (e *env) up(ctx context.Context, f upFlags, given func(flag string) bool) error {
	opts, err := f.gatewayOptions(e, given)
	if err != nil {
		return err
	}
	r, err := e.startUp(ctx, &f, given)
	if err != nil {
		return err
	}
	if opts != nil {
		if r.gateway, err = e.startGateway(ctx, r.conn, r.reg, f.gateway.listen, opts); err != nil {
			return errors.Join(err, r.close(ctx))
		}
	}
	if f.urlFile != "" {
		if err := writeWhole(f.urlFile, r.url(f)+"\n"); err != nil {
			return errors.Join(err, r.close(ctx))
		}
	}
	e.upNotes(r, f)
	var failed <-chan error
	if r.gateway != nil {
		failed = r.gateway.failed
	}
	select {
	case <-ctx.Done():
	case err := <-failed:
		return errors.Join(err, r.close(ctx))
	case <-r.lost():
		_ = r.close(ctx)
		return fail(classUnreachable, "its log says why; start it again with the same --dir", "the node's server has stopped")
	}
	e.note("stopping; once more Ctrl-C stops at once")
	if err := r.close(ctx); err != nil {
		e.note("not all could be closed in good order: %s", plain(err))
	}
	return interrupted(ctx)
}

// gatewayOptions are those of the gateway beside the node, nil if there is to be none.
func (f *upFlags) gatewayOptions(e *env, given func(string) bool) (*gateway.Options, error) {
	if f.gateway.listen != "" {
		return f.gateway.options(e)
	}
	for _, flag := range []string{"token-file", "allow-host", "session-idle", "max-body"} {
		if given(flag) {
			return nil, usage("toolbus up --gateway "+gateway.DefaultAddress, "--%s needs --gateway", flag)
		}
	}
	return nil, nil
}

func (e *env) startUp(ctx context.Context, f *upFlags, given func(string) bool) (*running, error) {
	if f.name == "" {
		f.name = hostName()
	}
	if f.nats != "" {
		for _, flag := range []string{"listen", "dir", "cluster", "advertise", "join", "secret-file", "election-timeout"} {
			if given(flag) {
				return nil, usage("with --nats there is no server here, only a keeper", "--%s and --nats do not go together", flag)
			}
		}
		if f.ttl == 0 {
			f.ttl = keeperTTL
		}
		e.server = f.nats
		return e.startKeeper(ctx, f.name, f.ttl)
	}
	opts, err := f.nodeOptions()
	if err != nil {
		return nil, err
	}
	opts.Logger = e.logger(true)
	if opts.Dir == "" {
		if opts.Dir, err = e.dataDir(f.name); err != nil {
			return nil, err
		}
		f.dir = opts.Dir
	}
	if f.ttl == 0 {
		f.ttl = nodeTTL
	}
	r, err := e.startNode(ctx, opts, f.ttl)
	if d, ok := errors.AsType[*bus.DirError](err); ok {
		return nil, &failure{class: classUsage, cause: err, msg: plain(err), hint: "give this node a folder of its own: --dir " + d.Dir + "-2"}
	}
	return r, err
}

// nodeOptions checks what was said about a node.
func (f *upFlags) nodeOptions() (*bus.NodeOptions, error) {
	o := &bus.NodeOptions{Name: f.name, Dir: f.dir, Listen: f.listen, ElectionTimeout: f.election}
	if f.cluster == "" {
		if len(f.join) > 0 || f.secret != "" || f.advertise != "" {
			return nil, usage("a node of a cluster is told its own address: --cluster HOST:PORT", "--join, --secret-file and --advertise need --cluster")
		}
		return o, nil
	}
	if len(f.join) == 0 || f.secret == "" {
		return nil, usage("toolbus up --cluster HOST:PORT --join A,B,C --secret-file FILE", "a cluster needs --join with all its nodes, and --secret-file")
	}
	secret, err := os.ReadFile(f.secret)
	if err != nil {
		return nil, &failure{class: classUsage, cause: err, msg: "the secret cannot be read: " + err.Error(), hint: "make one and copy it to all nodes: openssl rand -hex 32 > secret"}
	}
	o.Cluster = &bus.ClusterOptions{Listen: f.cluster, Advertise: f.advertise, Nodes: f.join, Secret: strings.TrimSpace(string(secret))}
	if o.Cluster.Secret == "" {
		return nil, usage("make one and copy it to all nodes: openssl rand -hex 32 > secret", "the secret file %s is empty", f.secret)
	}
	return o, nil
}

// dataDir is where a node keeps its data when nobody says where.
func (e *env) dataDir(name string) (string, error) {
	base := e.getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", usage("say where with --dir FOLDER", "there is no home folder for the node's data")
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "toolbus", name), nil
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "node"
	}
	short, _, _ := strings.Cut(host, ".")
	return short
}

// url is where others connect.
func (r *running) url(f upFlags) string {
	if r.node != nil {
		return r.node.URL()
	}
	return f.nats
}

// upNotes says what is there now, and what to do next.
func (e *env) upNotes(r *running, f upFlags) {
	at := ""
	if url := r.url(f); url != bus.DefaultURL {
		at = " -s " + url
	}
	switch {
	case r.node == nil:
		e.note("%s keeps scope %s on %s", f.name, e.scope, f.nats)
	case f.cluster != "":
		e.note("node %s is up at %s, one of %d, scope %s, data in %s", f.name, r.node.URL(), len(f.join), e.scope, f.dir)
	default:
		e.note("node %s is up at %s, scope %s, data in %s", f.name, r.node.URL(), e.scope, f.dir)
	}
	if r.gateway != nil {
		e.note("MCP over HTTP at %s/s/NAME/mcp", r.gateway.url)
	}
	for _, w := range r.warnings(f.ttl) {
		e.note("! %s", w)
	}
	e.note("\n  put a server on the bus   toolbus%s run everything -- npx -y @modelcontextprotocol/server-everything", at)
	e.note("  see what is there         toolbus%s ls", at)
	e.note("  call a tool               toolbus%s call everything echo message=hi", at)
	e.note("  the same with nats        nats%s kv ls toolbus_%s", at, e.scope)
	e.note("\nCtrl-C drains and stops.")
}

// writeWhole writes a file so that nobody reads half of it.
func writeWhole(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
