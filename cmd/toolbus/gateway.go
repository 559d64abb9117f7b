package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/gateway"
	"github.com/toolbus/toolbus/servers/wire"
)

// gatewayFlags are what a gateway is told, by its own command and by `up`.
type gatewayFlags struct {
	listen, tokenFile string
	hosts             []string
	maxBody           int64
	idle              time.Duration
	urlFile           string
}

// gatewayDrain is how long calls in flight may go on when a gateway stops: less than a whole command may take.
const gatewayDrain = 5 * time.Second

func gatewayCommand(e *env) *cobra.Command {
	f := gatewayFlags{listen: gateway.DefaultAddress}
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "let MCP clients that speak HTTP use the bus",
		Long: "Gateway serves every server of the scope over Streamable HTTP, to clients of both protocols: one server at /s/NAME/mcp, all members of\n" +
			"a group at /g/GROUP/mcp, all servers at /mcp. It keeps no sessions of servers, so any number of gateways may stand behind a balancer\n" +
			"(/healthz says whether one can serve). It listens on this machine only unless told otherwise; beyond it clients need a token, and the\n" +
			"names by which it is reached must be given.",
		Example: "toolbus gateway\n" +
			"toolbus gateway --listen 0.0.0.0:4280 --token-file tokens --allow-host mcp.example.com\n" +
			"claude mcp add --transport http weather http://" + gateway.DefaultAddress + "/s/weather/mcp",
		Args: exactArgs(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.gateway(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", f.listen, "`HOST:PORT` for clients; port 0 takes a free one")
	f.add(fs)
	fs.StringVar(&f.urlFile, "url-file", "", "write the URL to `FILE` once the gateway can be used")
	return cmd
}

// add adds the flags that `up` has as well.
func (f *gatewayFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the bearer tokens of clients, one a line")
	fs.StringSliceVar(&f.hosts, "allow-host", nil, "`HOST[:PORT]` by which clients and web pages reach the gateway, besides this machine's own; may be repeated")
	fs.DurationVar(&f.idle, "session-idle", wire.DefaultIdle, "how long a session lives that no client uses")
	fs.Int64Var(&f.maxBody, "max-body", 64<<20, "largest request in `BYTES`")
}

// options reads the tokens and checks what was said.
func (f *gatewayFlags) options(e *env) (*gateway.Options, error) {
	o := &gateway.Options{Hosts: f.hosts, MaxBody: f.maxBody, Idle: f.idle, Logger: e.logger(true)}
	if f.idle < time.Second {
		return nil, usage("half an hour is --session-idle 30m", "--session-idle must be a second or more")
	}
	if f.maxBody <= 0 {
		return nil, usage("64 MiB is --max-body 67108864", "--max-body must be more than zero")
	}
	if f.tokenFile == "" {
		return o, nil
	}
	data, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return nil, &failure{class: classUsage, cause: err, msg: "the tokens cannot be read: " + err.Error(), hint: "make one: openssl rand -hex 32 > tokens"}
	}
	o.Tokens = strings.Fields(string(data))
	if len(o.Tokens) == 0 {
		return nil, usage("make one: openssl rand -hex 32 > "+f.tokenFile, "the token file %s is empty", f.tokenFile)
	}
	return o, nil
}

// gateway serves until a signal comes.
func (e *env) gateway(ctx context.Context, f gatewayFlags) error {
	opts, err := f.options(e)
	if err != nil {
		return err
	}
	log := e.logger(true)
	l, err := e.connect(ctx, "gateway", f.listen, log, &kvstore.JetStreamOptions{Logger: log})
	if err != nil {
		return err
	}
	defer l.close()
	reg, err := registry.Open(ctx, l.store, &registry.Options{Scope: e.scope, Peers: l.conn, Logger: log})
	if err != nil {
		return err
	}
	defer e.closeRegistry(ctx, reg)
	if err := e.synced(ctx, reg); err != nil {
		return err
	}
	g, err := e.startGateway(ctx, l.conn, reg, f.listen, opts)
	if err != nil {
		return err
	}
	if f.urlFile != "" {
		if err := writeWhole(f.urlFile, g.url+"\n"); err != nil {
			return errors.Join(err, g.stop())
		}
	}
	e.note("MCP over HTTP at %s/s/NAME/mcp, scope %s%s", g.url, e.scope, tokensNote(opts))
	for _, record := range first(reg.List(), 3) {
		e.note("  %s/s/%s/mcp", g.url, record.Name)
	}
	select {
	case <-ctx.Done():
	case <-l.conn.Done():
		return errors.Join(fail(classUnreachable, "start it again when NATS is back", "the connection to NATS has ended"), g.stop())
	case err := <-g.failed:
		return err
	}
	e.note("stopping; once more Ctrl-C stops at once")
	if err := g.stop(); err != nil {
		e.note("not all could be closed in good order: %s", plain(err))
	}
	return interrupted(ctx)
}

func tokensNote(o *gateway.Options) string {
	if len(o.Tokens) > 0 {
		return ", with a token"
	}
	return ", for this machine"
}

func first[T any](list []T, n int) []T { return list[:min(n, len(list))] }

// runningGateway is a gateway that serves.
type runningGateway struct {
	url    string
	failed <-chan error // why it serves no more
	stop   func() error // waits for the calls in flight, up to gatewayDrain
}

// startGateway starts a gateway. It serves until stop is called, also after ctx.
func (e *env) startGateway(ctx context.Context, conn *bus.Conn, reg *registry.Registry, address string, opts *gateway.Options) (*runningGateway, error) {
	listener, err := gateway.Listen(ctx, address, opts)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(conn, reg, opts)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 1)
	ended := make(chan struct{})
	var result error
	go func() { // ends with stop, or when the listener fails
		defer close(ended)
		if result = g.Serve(serving, listener, gatewayDrain); serving.Err() == nil {
			failed <- result
		}
	}()
	stop := func() error {
		cancel()
		<-ended
		return result
	}
	return &runningGateway{url: "http://" + listener.Addr().String(), failed: failed, stop: stop}, nil
}
