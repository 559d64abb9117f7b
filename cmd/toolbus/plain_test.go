package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/toolbus/toolbus/bus/bustest"
)

// whereis asks as a user would, and returns what it prints and its exit code.
func whereis(t *testing.T, url, name string) (found struct{ State, Instance, Session string }, exit int) {
	t.Helper()
	out, err := exec.Command("toolbus", "-s", url, "whereis", name, "-o", "json").Output()
	if err == nil {
		if err := json.Unmarshal(out, &found); err != nil {
			t.Fatal(err)
		}
	}
	return found, exitCode(err)
}

func serve(t *testing.T, url, name string) *program {
	t.Helper()
	p := start(t, "-s", url, "run", name, "--", "fakeserver")
	p.says(t, name+" is on the bus")
	return p
}

func kill(t *testing.T, p *program) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.end(t)
}

// A stock nats-server, of whose events nobody hears, and nobody else there to keep the scope: the name of a killed server stays, is shown as
// what it is, and is had again by the same server, started again.
func TestKilledAloneOnPlainNATS(t *testing.T) {
	url := bustest.Plain(t).ClientURL()
	first := serve(t, url, "fake")
	was, _ := whereis(t, url, "fake")
	if was.State != stateOK {
		t.Fatalf("a living owner is %q", was.State)
	}
	kill(t, first)
	if now, exit := whereis(t, url, "fake"); exit != 0 || now.Session != was.Session || now.State != stateSilent {
		t.Errorf("a dead owner is %+v (exit %d), not silent", now, exit)
	}
	if exit := exitCode(exec.Command("toolbus", "-s", url, "call", "fake", "add", "a=5", "b=3").Run()); exit != classNoAnswer.exit {
		t.Errorf("a call to it: exit code %d, not %d", exit, classNoAnswer.exit)
	}
	began := time.Now()
	serve(t, url, "fake")
	took := time.Since(began)
	t.Logf("started again, it has its name after %s", took)
	if took > 5*time.Second {
		t.Errorf("started again, it has its name only after %s", took)
	}
	if now, exit := whereis(t, url, "fake"); exit != 0 || now.Session == was.Session || now.State != stateOK {
		t.Errorf("then it is %+v (exit %d)", now, exit)
	}
}

// With another long-lived process there, a killed server is gone by itself.
func TestKilledInCompanyOnPlainNATS(t *testing.T) {
	url := bustest.Plain(t).ClientURL()
	serve(t, url, "other")
	doomed := serve(t, url, "fake")
	kill(t, doomed)
	began := time.Now()
	if err := exec.Command("toolbus", "-s", url, "wait", "fake", "--for", "gone", "--timeout", patience.String()).Run(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("gone after %s", took)
	if took > 3*time.Second {
		t.Errorf("gone only after %s", took)
	}
	if now, exit := whereis(t, url, "other"); exit != 0 || now.State != stateOK {
		t.Errorf("the other is %+v (exit %d)", now, exit)
	}
}

// stock starts a nats-server with options of the test's.
func stock(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog, opts.StoreDir, opts.DisableJetStreamBanner = "127.0.0.1", server.RANDOM_PORT, true, true, t.TempDir(), true
	srv, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not come up")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

// A NATS without JetStream is one that cannot be used: exit 4 within --timeout, and the hint says what is missing.
func TestNoJetStream(t *testing.T) {
	url := stock(t, server.Options{}).ClientURL()
	for _, args := range []string{"ls", "whereis x", "groups", "call x y", "run x -- fakeserver", "up --nats " + url} {
		cmd := exec.Command("toolbus", append([]string{"-s", url, "--timeout", "700ms"}, strings.Fields(args)...)...)
		out, err := cmd.CombinedOutput()
		if got := exitCode(err); got != classUnreachable.exit || !strings.Contains(string(out), "JetStream") {
			t.Errorf("%s: exit code %d: %s", args, got, out)
		}
	}
}

// Credentials that are refused are exit 3; those of flags and of variables are used.
func TestCredentials(t *testing.T) {
	srv := stock(t, server.Options{JetStream: true, Username: "alice", Password: "secret"})
	for _, c := range []struct {
		args, env []string
		exit      int
	}{
		{nil, nil, 3},
		{[]string{"--user", "alice", "--password", "wrong"}, nil, 3},
		{[]string{"--user", "alice", "--password", "secret"}, nil, 0},
		{nil, []string{"NATS_USER=alice", "NATS_PASSWORD=secret"}, 0},
		{[]string{"--password", "secret"}, []string{"NATS_USER=alice", "NATS_PASSWORD=wrong"}, 0},
		{[]string{"--creds", "/no/such/file"}, nil, 2},
	} {
		cmd := exec.Command("toolbus", append([]string{"-s", srv.ClientURL(), "ls"}, c.args...)...)
		cmd.Env = append(cmd.Environ(), c.env...)
		out, err := cmd.CombinedOutput()
		if got := exitCode(err); got != c.exit {
			t.Errorf("%v %v: exit code %d, not %d: %s", c.args, c.env, got, c.exit, out)
		}
	}
}

// Commands that only read leave a NATS as they found it.
func TestReadingCreatesNothing(t *testing.T) {
	srv := bustest.Plain(t)
	for _, args := range []string{"ls", "groups", "whereis x", "get x", "groups x", "call x y", "wait x --for gone", "wait x --timeout 200ms"} {
		cmd := exec.Command("toolbus", append([]string{"-s", srv.ClientURL()}, strings.Fields(args)...)...)
		if out, err := cmd.CombinedOutput(); err != nil && exitCode(err) != classNotFound.exit && exitCode(err) != classTimeout.exit {
			t.Errorf("%s: %v: %s", args, err, out)
		}
	}
	info, err := srv.Jsz(nil)
	if err != nil || info.Streams != 0 {
		t.Errorf("there are %d streams now (%v)", info.Streams, err)
	}
}
