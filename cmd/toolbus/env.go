package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// env is what the user asked for: flags, then variables, then the selected nats context.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	out            *output // made by resolve

	server, context                        string
	creds, nkey, user, password, token     string
	tlsCA, tlsCert, tlsKey, inboxPrefix    string
	scope, format                          string
	asJSON, noColor, quiet, verbose, debug bool
	timeout                                time.Duration
}

func newEnv(stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *env {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv}
	e.out = newOutput(stdout, formatTable, false)
	return e
}

// connectFlags are the variables behind flags: the names are those of the nats CLI where it has one.
var connectFlags = []struct {
	name, short, variable, help string
	field                       func(*env) *string
}{
	{"server", "s", "NATS_URL", "NATS `URL`, several with commas", func(e *env) *string { return &e.server }},
	{"context", "", "NATS_CONTEXT", "nats context, by `NAME`", func(e *env) *string { return &e.context }},
	{"creds", "", "NATS_CREDS", "credentials `FILE`", func(e *env) *string { return &e.creds }},
	{"nkey", "", "NATS_NKEY", "nkey seed `FILE`", func(e *env) *string { return &e.nkey }},
	{"user", "", "NATS_USER", "`USER` name", func(e *env) *string { return &e.user }},
	{"password", "", "NATS_PASSWORD", "`PASSWORD` of the user", func(e *env) *string { return &e.password }},
	{"token", "", "NATS_TOKEN", "NATS auth `TOKEN`", func(e *env) *string { return &e.token }},
	{"tlsca", "", "NATS_CA", "TLS: CA certificates `FILE`", func(e *env) *string { return &e.tlsCA }},
	{"tlscert", "", "NATS_CERT", "TLS: client certificate `FILE`", func(e *env) *string { return &e.tlsCert }},
	{"tlskey", "", "NATS_KEY", "TLS: client key `FILE`", func(e *env) *string { return &e.tlsKey }},
	{"inbox-prefix", "", "NATS_INBOX_PREFIX", "`PREFIX` of reply subjects", func(e *env) *string { return &e.inboxPrefix }},
	{"scope", "", "TOOLBUS_SCOPE", "namespace of names (default \"default\")", func(e *env) *string { return &e.scope }},
	{"output", "o", "TOOLBUS_OUTPUT", "table, json, jsonl or name", func(e *env) *string { return &e.format }},
}

// globalFlags adds the flags that every command has.
func (e *env) globalFlags(fs *pflag.FlagSet) {
	for _, f := range connectFlags {
		fs.StringVarP(f.field(e), f.name, f.short, "", f.help+" ($"+f.variable+")")
	}
	fs.BoolVar(&e.asJSON, "json", false, "same as -o json")
	fs.DurationVar(&e.timeout, "timeout", 5*time.Second, "how long to wait for answers ($NATS_TIMEOUT)")
	fs.BoolVar(&e.noColor, "no-color", false, "no colours ($NO_COLOR)")
	fs.BoolVarP(&e.quiet, "quiet", "q", false, "no progress lines, errors only")
	fs.BoolVarP(&e.verbose, "verbose", "v", false, "log what happens on stderr")
	fs.BoolVar(&e.debug, "debug", false, "log everything on stderr")
}

// resolve fills in what no flag gave, and checks. It runs before every command.
func (e *env) resolve(fs *pflag.FlagSet) error {
	for _, f := range connectFlags {
		if !fs.Changed(f.name) {
			*f.field(e) = e.getenv(f.variable)
		}
	}
	if text := e.getenv("NATS_TIMEOUT"); text != "" && !fs.Changed("timeout") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return usage("a duration looks like 5s or 1m30s", "NATS_TIMEOUT is no duration: %q", text)
		}
		e.timeout = d
	}
	if e.timeout <= 0 {
		return usage("a duration looks like 5s or 1m30s", "--timeout must be more than zero")
	}
	if e.asJSON {
		e.format = string(formatJSON)
	}
	format, err := parseFormat(e.format)
	if err != nil {
		return err
	}
	e.out = newOutput(e.stdout, format, e.wantsColor())
	e.out.chosen = e.format != ""
	if e.scope == "" {
		e.scope = "default"
	}
	if e.scope, err = registry.ParseScope(e.scope); err != nil {
		return err
	}
	return nil
}

// wantsColor follows NO_COLOR, TERM=dumb and CLICOLOR_FORCE. Whether the output is a terminal is asked elsewhere.
func (e *env) wantsColor() bool {
	return !e.noColor && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

// logger writes to stderr: warnings, with -v what happens, with --debug everything. Commands that only ask log nothing by themselves.
func (e *env) logger(stays bool) *slog.Logger {
	level := slog.LevelWarn
	switch {
	case e.debug:
		level = slog.LevelDebug
	case e.verbose:
		level = slog.LevelInfo
	case e.quiet:
		level = slog.LevelError
	case !stays:
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level}))
}

// url is where to connect, for messages: empty options mean the context's URL or the default.
func (e *env) url() string {
	switch {
	case e.server != "":
		return e.server
	case e.context != "":
		return "context " + e.context
	}
	return bus.DefaultURL
}

// link is a connection and the store of the scope.
type link struct {
	conn  *bus.Conn
	store *kvstore.JetStream
}

func (l *link) close() { _ = l.conn.Close() } // nothing of a command is in flight when it ends

// connectOptions are those of the flags.
func (e *env) connectOptions(role, name string, log *slog.Logger) *bus.ConnectOptions {
	o := &bus.ConnectOptions{
		Role: role, Name: name, Context: e.context, SelectedContext: e.context == "",
		Creds: e.creds, NKey: e.nkey, User: e.user, Password: e.password, Token: e.token, InboxPrefix: e.inboxPrefix,
		Timeout: e.timeout, Logger: log,
	}
	if e.tlsCA != "" || e.tlsCert != "" || e.tlsKey != "" {
		o.TLS = &bus.TLSOptions{CA: e.tlsCA, Cert: e.tlsCert, Key: e.tlsKey}
	}
	return o
}

// connect opens the connection that the flags describe, and the scope's store on it. ctx bounds the opening.
func (e *env) connect(ctx context.Context, role, name string, log *slog.Logger, opts *kvstore.JetStreamOptions) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	conn, err := bus.Connect(ctx, e.server, e.connectOptions(role, name, log))
	if err != nil {
		return nil, e.connectError(err)
	}
	if opts == nil {
		opts = &kvstore.JetStreamOptions{Timeout: e.timeout, Logger: log}
	}
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), e.scope, opts)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &link{conn, store}, nil
}

// ask is connect for a command that asks something and ends: the context that it returns lasts for --timeout.
func (e *env) ask(ctx context.Context) (context.Context, *link, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	l, err := e.connect(ctx, "cli", "", e.logger(false), nil)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return ctx, l, func() { l.close(); cancel() }, nil
}

// connectError says where nobody was, and tells a context that is not there from a server that is not.
func (e *env) connectError(err error) error {
	switch {
	case strings.Contains(err.Error(), "unknown context"), strings.Contains(err.Error(), "invalid context"):
		return &failure{class: classNotFound, msg: "no nats context " + quote(e.context), hint: "nats context ls shows those that there are", cause: err}
	case errors.Is(err, os.ErrNotExist) && (e.creds != "" || e.nkey != "" || e.tlsCA != "" || e.tlsCert != ""):
		return &failure{class: classUsage, msg: plain(err), hint: "check the paths of the credentials and certificates", cause: err}
	case classify(err) == classUnreachable && !errors.Is(err, bus.ErrTooOld):
		f := fail(classUnreachable, "start a node here with `toolbus up`, or name another server with -s URL or --context NAME", "no NATS server at %s", e.url())
		f.cause = err
		return f.with("server", e.url())
	}
	return err
}
