package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// lockFlags are what `lock` is told.
type lockFlags struct {
	wait   bool
	grace  time.Duration
	labels []string
}

func lockCommand(e *env) *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock NAME [--wait] -- COMMAND [ARG...]",
		Short: "run a command while holding a name: one of it in the whole cluster",
		Long: "Lock claims a name, runs the command while it holds it, and leaves with the command's exit code. The command is sent SIGTERM and, after a\n" +
			"grace, SIGKILL when the name is lost; where it cannot be known any more that it is held, the command is dead before anybody else can have it.\n" +
			"The command ends with lock, however that ends, and so does what it has started, but for what has made a session of its own (setsid).\n" +
			"Other signals than SIGKILL are passed on to it.\n\n" +
			"Nobody can stop a machine that is frozen, and a command that is frozen with it may do one thing more when it wakes. Whatever must not be\n" +
			"done twice has to check the token, $TOOLBUS_TOKEN: it grows with every claim of the name. The name itself is $TOOLBUS_NAME.\n\n" +
			"A claim waits until this process has followed the log for the scope's TTL, as a log that was just made anew may lack an owner who is there still.",
		Example: "toolbus lock jobs.nightly -- ./nightly.sh\n" +
			"toolbus lock jobs.nightly --wait -- sh -c 'echo I am the one, with token $TOOLBUS_TOKEN'",
		Args: func(cmd *cobra.Command, args []string) error { return commandAfterDash(cmd, args, "lock") },
		RunE: func(cmd *cobra.Command, args []string) error { return e.lock(cmd.Context(), args[0], args[1:], f) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.wait, "wait", false, "stand in line until the name is free, as long as it takes; else exit 7 if somebody has it")
	fs.DurationVar(&f.grace, "grace", 3*time.Second, "how long the command may take to end after SIGTERM")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "`KEY=VALUE` to select by; may be repeated")
	return cmd
}

// kindLock is the kind of a registration that serves nothing.
const kindLock = "lock"

// lock holds the name and runs the command.
func (e *env) lock(ctx context.Context, name string, command []string, f lockFlags) error {
	name, err := registry.ParseName(name)
	if err != nil {
		return err
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return err
	}
	if f.grace <= 0 {
		return usage("a duration looks like 5s or 1m30s", "--grace must be more than zero")
	}
	log := e.logger(true)
	l, err := e.connect(ctx, "lock", name, log, &kvstore.JetStreamOptions{Logger: log})
	if err != nil {
		return err
	}
	defer l.close()
	reg, err := registry.Open(ctx, l.store, &registry.Options{Scope: e.scope, Peers: l.conn, Logger: log})
	if err != nil {
		return err
	}
	defer e.closeRegistry(ctx, reg) // in one entry, after the command has ended
	if err := e.synced(ctx, reg); err != nil {
		return err
	}
	opts := &registry.RegisterOptions{Kind: kindLock, Labels: labels, Metadata: map[string]string{"command": shorten(strings.Join(command, " "), 200)}}
	held, err := e.claim(ctx, l, reg, name, f.wait, opts)
	if err != nil {
		return err
	}
	token := fmt.Sprint(held.Token())
	c, err := e.startLocked(command, f.grace, []string{"TOOLBUS_NAME=" + name, "TOOLBUS_TOKEN=" + token})
	if err != nil {
		return err
	}
	e.info("%s is held with token %s: %s runs", name, token, command[0])
	return e.guardLock(ctx, held, reg.TTL(), f.grace, c)
}

// claim gets the name for a strict session.
func (e *env) claim(ctx context.Context, l *link, reg *registry.Registry, name string, wait bool, opts *registry.RegisterOptions) (*registry.Registration, error) {
	if owner, err := reg.Whereis(name); err == nil && !wait { // it need not be waited a TTL for this
		one, cancel := context.WithTimeout(ctx, probeTimeout)
		err := registry.Probe(one, l.conn, e.scope, owner.Session)
		cancel()
		if err == nil {
			return nil, &registry.NameTakenError{Name: name, Owner: *owner}
		}
	}
	bounded, cancel := context.WithTimeout(ctx, e.timeout)
	session, err := reg.NewSession(bounded, &registry.SessionOptions{Mode: registry.Strict})
	cancel()
	if err != nil {
		return nil, err
	}
	e.info("waiting a TTL, %s, as every strict claim does that has just met its log", reg.TTL())
	if wait {
		if owner, err := reg.Whereis(name); err == nil {
			e.info("%s is held by %s; standing in line", name, owner.Holder())
		}
		return session.Campaign(ctx, name, opts)
	}
	// A TTL for the log, one for an owner that does not answer, and time to write.
	bounded, cancel = context.WithTimeout(ctx, 2*reg.TTL()+e.timeout)
	defer cancel()
	return session.Register(bounded, name, opts)
}

// info tells somebody who sits there what goes on; in a script's log it would be noise.
func (e *env) info(format string, args ...any) {
	if isTerminal(e.stderr) || e.verbose {
		e.note(format, args...)
	}
}

// The parts of a TTL, in hundredths, that a lock which cannot be proved any more waits: a session stops believing in itself after 90 of silence,
// and another can have the name after 100. A connection that comes back before silenceTerm costs nothing; the command is killed at silenceKill,
// whatever its grace.
const (
	silenceTerm = 3
	silenceKill = 7
)

// guardLock stays until the command has ended, and sees to it that it does in time.
func (e *env) guardLock(ctx context.Context, held *registry.Registration, ttl, grace time.Duration, c *lockedChild) error {
	look := time.NewTicker(min(max(ttl/400, time.Millisecond), 50*time.Millisecond))
	defer look.Stop()
	var (
		lost   error     // why the command was told to end
		silent time.Time // since when it is not known that the name is held
		kill   <-chan time.Time
		done   = held.Done()
		asked  = ctx.Done()
	)
	stop := func(why error, patience time.Duration) {
		if lost == nil {
			lost = why
			e.note("%s; stopping the command", plain(why))
			c.term()
			kill = time.After(patience)
		}
	}
	for {
		select {
		case status := <-c.ended:
			if lost != nil {
				return lost
			}
			return status.err()
		case s := <-c.signals:
			c.signal(s)
		case <-asked:
			asked = nil
			if s, ok := errors.AsType[*signalError](context.Cause(ctx)); ok {
				c.signal(s.signal)
			} else {
				c.term()
			}
		case <-done:
			done = nil
			stop(e.lostLock(held), grace)
		case <-kill:
			kill = nil
			c.kill()
		case <-look.C:
			switch {
			case held.Serving():
				silent = time.Time{}
			case silent.IsZero():
				silent = time.Now()
			case time.Since(silent) > ttl*silenceTerm/100:
				stop(fail(classUnreachable, "the log could not be reached in time; look for its servers, and start again",
					"it cannot be known any more that %q is held", held.Name()), min(grace, ttl*(silenceKill-silenceTerm)/100))
			}
		}
	}
}

// lostLock says who took it away.
func (e *env) lostLock(held *registry.Registration) error {
	f := fail(classTaken, "toolbus get "+held.Name()+" says who has it now", "the name %q was lost: %s", held.Name(), plain(held.Err()))
	f.cause = held.Err()
	return f.with("name", held.Name()).with("token", uint64(held.Token()))
}

// childStatus is how a command ended: its exit code as a shell has it.
type childStatus struct {
	code int
	fail error // of a start, or of the guard
}

func (s childStatus) err() error {
	switch {
	case s.fail != nil:
		return s.fail
	case s.code != 0:
		return &passedStatus{s.code}
	}
	return nil
}

// passedStatus is an exit code that is not ours: nothing is said about it.
type passedStatus struct{ code int }

func (p *passedStatus) Error() string { return fmt.Sprintf("the command exited with %d", p.code) }

// cannotRun is the error for a command that does not start.
func cannotRun(command, why string) error {
	return fail(classInternal, "is it installed, and in the PATH of this process?", "%s could not be started: %s", quote(command), why)
}

// childEnv is the command's environment: ours, and what is said to it alone.
func childEnv(more []string) []string { return slices.Concat(os.Environ(), more) }

// commandAfterDash checks "NAME -- COMMAND [ARG...]".
func commandAfterDash(cmd *cobra.Command, args []string, verb string) error {
	switch dash := cmd.ArgsLenAtDash(); {
	case len(args) == 0 || dash == 0:
		return usage("usage: "+cmd.UseLine(), "the name is missing")
	case dash > 1 || dash < 0 && len(args) > 1:
		return usage("toolbus "+verb+" "+args[0]+" -- "+strings.Join(args[1:], " "), "the command begins after --")
	case len(args) == 1:
		return usage("usage: "+cmd.UseLine(), "the command is missing")
	}
	return nil
}
