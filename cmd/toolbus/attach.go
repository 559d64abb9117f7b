package main

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/bridge"
)

// attachFlags are what `attach` is told.
type attachFlags struct {
	groups, labels, headers []string
	headerFile, health      string
	share                   bool
	sessions                int
	start                   time.Duration
}

func attachCommand(e *env) *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:   "attach NAME URL [-g GROUP] [-l KEY=VALUE] [-H 'KEY: VALUE']",
		Short: "put an MCP server that speaks HTTP on the bus under a name",
		Long: "Attach serves an MCP server at a URL under a name that nobody else has: one of Streamable HTTP, old or new, or of the older HTTP with SSE.\n" +
			"A server that is away keeps its name: calls are answered with why, toolbus get shows it, and it comes back by itself.",
		Example: "toolbus attach weather https://weather.example/mcp -H 'Authorization: Bearer TOKEN'\n" +
			"toolbus attach wiki http://127.0.0.1:3000/mcp --header-file secret.txt --health /healthz",
		Args: exactArgs(2, "the name or the URL"),
		RunE: func(cmd *cobra.Command, args []string) error { return e.attach(cmd.Context(), args[0], args[1], f) },
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&f.groups, "group", "g", nil, "`GROUP` to join besides tools, resources and prompts; may be repeated")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "`KEY=VALUE` to select by; may be repeated")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "`'KEY: VALUE'` to send with every request; may be repeated")
	fs.StringVar(&f.headerFile, "header-file", "", "`FILE` with such headers, a line each: other users of this machine cannot see them")
	fs.StringVar(&f.health, "health", "10s", "`HOW` the server is looked after: how often (30s), a path to fetch (/healthz), both (/healthz,30s), or never")
	fs.BoolVar(&f.share, "share", false, "share the name with others that attach the same URL: each call goes through one of them")
	fs.IntVar(&f.sessions, "max-sessions", 0, "how many clients with sessions there may be at once (default 1024)")
	fs.DurationVar(&f.start, "start-timeout", 10*time.Second, "how long the server may take to answer at the start")
	return cmd
}

// attach serves until a signal comes or somebody else has the name.
func (e *env) attach(ctx context.Context, name, at string, f attachFlags) error {
	name, err := registry.ParseName(name)
	if err != nil {
		return err
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return err
	}
	if u, err := url.Parse(at); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage("a URL looks like https://host/mcp", "no http or https URL: %s", quote(at))
	}
	header, err := parseHeaders(f.headers, f.headerFile)
	if err != nil {
		return err
	}
	path, every, err := parseHealth(f.health)
	if err != nil {
		return err
	}
	log := e.logger(true)
	l, err := e.connect(ctx, "attach", name, log, &kvstore.JetStreamOptions{Logger: log})
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
	r, err := bridge.Attach(ctx, l.conn, reg, name, at, &bridge.AttachOptions{
		Groups: f.groups, Labels: labels, Share: f.share, Logger: log,
		HTTP: &bridge.HTTPOptions{Header: header, MaxSessions: f.sessions, Timeout: f.start, Health: every, HealthPath: path, ClientVersion: build().Version},
	})
	if err != nil {
		return err
	}
	info := r.Info()
	e.note("%s is on the bus: %s MCP %s at %s, groups %s", name, info.Era, info.Version, at, orDash(strings.Join(r.Groups(), " ")))
	select {
	case <-r.Done():
		return r.Err()
	case <-ctx.Done():
	}
	e.note("stopping %s; once more Ctrl-C stops at once", name)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := r.Close(end); err != nil {
		e.note("it could not be ended in good order: %s", plain(err))
	}
	return interrupted(ctx)
}

// parseHeaders reads headers from flags and from a file.
func parseHeaders(list []string, file string) (http.Header, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("a header file has a line KEY: VALUE for each header", "%s", err)
		}
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); {
			if line := strings.TrimSpace(in.Text()); line != "" && line[0] != '#' {
				list = append(list, line)
			}
		}
	}
	header := http.Header{}
	for _, line := range list {
		key, value, ok := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); !ok || key == "" || strings.ContainsAny(key, " \t") {
			return nil, usage("a header looks like 'Authorization: Bearer TOKEN'", "no header: %s", quote(key)) // without the value, which may be secret
		}
		header.Add(key, strings.TrimSpace(value))
	}
	return header, nil
}

// parseHealth reads how a server is looked after.
func parseHealth(text string) (path string, every time.Duration, err error) {
	for part := range strings.SplitSeq(text, ",") {
		switch d, bad := time.ParseDuration(part); {
		case part == "never":
			every = -1
		case strings.HasPrefix(part, "/"), strings.HasPrefix(part, "http://"), strings.HasPrefix(part, "https://"):
			path = part
		case bad != nil || d <= 0:
			return "", 0, usage("--health takes a time (30s), a path (/healthz), both with a comma, or never", "no way to look after a server: %s", quote(part))
		default:
			every = d
		}
	}
	return path, every, nil
}
