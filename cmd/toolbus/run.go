package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/bridge"
)

// runFlags are what `run` is told.
type runFlags struct {
	groups, labels, env []string
	dir                 string
	single, share, lazy bool
	restart             string
	start, limit, idle  time.Duration
	sessions, tries     int
}

func runCommand(e *env) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run NAME [-g GROUP] [-l KEY=VALUE] -- COMMAND [ARG...]",
		Short: "put an MCP server on the bus under a name",
		Long: "Run starts an MCP server that speaks over its stdin, and serves it under a name that nobody else has. A server that fails is started again,\n" +
			"and the name stays; one that keeps failing is given up, and run ends. The server ends when run does, however that ends. What the server\n" +
			"writes to stderr is shown here, and by toolbus logs NAME anywhere.",
		Example: "toolbus run everything -- npx -y @modelcontextprotocol/server-everything\n" +
			"toolbus run team-a.files -g dev -l team=a -- mcp-server-files /srv/data",
		Args: func(cmd *cobra.Command, args []string) error { return commandAfterDash(cmd, args, "run") },
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd.Context(), args[0], args[1:], f) },
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&f.groups, "group", "g", nil, "`GROUP` to join besides tools, resources and prompts; may be repeated")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "`KEY=VALUE` to select by; may be repeated")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "`KEY=VALUE` for the server's environment; may be repeated")
	fs.StringVar(&f.dir, "dir", "", "the server's working `FOLDER`")
	fs.StringVar(&f.restart, "restart", string(bridge.OnFailure), "`WHEN` a server that ends is started again: on-failure, always, never")
	fs.IntVar(&f.tries, "restart-tries", 0, "so many starts in a row that do not last, and it is given up (default 10)")
	fs.DurationVar(&f.limit, "restart-limit", 0, "so long without a server that lasts, and it is given up (default 1m)")
	fs.IntVar(&f.sessions, "max-sessions", 0, "how many clients with sessions there may be at once (default 64)")
	fs.BoolVar(&f.share, "share", false, "share the name with others that run the same: each call goes to one of them")
	fs.BoolVar(&f.lazy, "lazy", false, "start the server with the first request; what it is is remembered from the last time")
	fs.DurationVar(&f.idle, "idle", 0, "end the server after so long without a request, until the next one (default: never)")
	fs.BoolVar(&f.single, "single", false, "one process for all clients, also for those with sessions")
	fs.DurationVar(&f.start, "start-timeout", time.Minute, "how long the server may take to start")
	return cmd
}

// run serves until a signal comes, the server ends, or somebody else has the name.
func (e *env) run(ctx context.Context, name string, command []string, f runFlags) error {
	name, err := registry.ParseName(name)
	if err != nil {
		return err
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return err
	}
	restart, err := bridge.ParseRestart(f.restart)
	if err != nil {
		return usage("see `toolbus run --help`", "%s", plain(err))
	}
	log := e.logger(true)
	l, err := e.connect(ctx, "run", name, log, &kvstore.JetStreamOptions{Logger: log})
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
	opts := &bridge.RunOptions{
		Groups: f.groups, Labels: labels, Env: f.env, Dir: f.dir, Single: f.single, MaxSessions: f.sessions, StartTimeout: f.start, Logger: log,
		Restart: restart, Share: f.share,
		Stdio: &bridge.StdioOptions{
			ClientVersion: build().Version, Backoff: bridge.RestartOptions{Tries: f.tries, Limit: f.limit}, Lazy: f.lazy, Idle: f.idle,
		},
	}
	if f.lazy {
		opts.Stdio.Described = e.remembered(command, f)
	}
	if !e.quiet {
		opts.Stderr = e.stderr
	}
	r, err := bridge.Run(ctx, l.conn, reg, name, command, opts)
	if err != nil {
		return err
	}
	info := r.Info()
	e.note("%s is on the bus: %s MCP %s, groups %s, %s", name, info.Era, info.Version, orDash(strings.Join(r.Groups(), " ")), childOf(r))
	if described, err := r.Backend().Describe(ctx); f.lazy && err == nil {
		e.remember(command, f, described)
	}
	select {
	case <-r.Done():
		return e.runEnded(name, r.Err())
	case <-ctx.Done():
	}
	e.note("stopping %s; once more Ctrl-C stops at once", name)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := r.Close(end); err != nil {
		e.note("the server could not be ended in good order: %s", plain(err))
	}
	return interrupted(ctx)
}

// childOf says which process serves.
func childOf(r *bridge.Running) string {
	if pid := r.Backend().Pid(); pid != 0 && r.Backend().Running() {
		return fmt.Sprintf("pid %d", pid)
	}
	return "started with the first request"
}

// runEnded says why a server that was not asked to has ended.
func (e *env) runEnded(name string, err error) error {
	exit, ok := errors.AsType[*bridge.ExitError](err)
	if !ok {
		return err
	}
	f := fail(classInternal, "run the command by itself to see what is wrong; its name is free again", "%s has ended: %s", name, plain(exit))
	f.cause = err
	return f.with("name", name).with("status", exit.Status).with("stderr", exit.Stderr)
}

// closeRegistry ends what this process owns, within a bounded time, also after ctx.
func (e *env) closeRegistry(ctx context.Context, reg *registry.Registry) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := reg.Close(end); err != nil {
		e.note("the end is not in the registry yet; the keeper will see it: %s", plain(err))
	}
}
