package servers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// hang leaves a call of a server's tool (hang, wait) pending, and returns when it is there.
func (p process) hang(t *testing.T, tool, name, version string) (*mcp.ClientSession, <-chan error) {
	t.Helper()
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	c := client(&mcp.ClientOptions{ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { begun <- struct{}{} }})
	session := connect(t, c, &servers.Transport{Conn: p.conn, Registry: p.reg, Name: name}, version)
	params := &mcp.CallToolParams{Name: tool}
	params.SetProgressToken("p")
	ctx := bustest.Context(t)
	go func() {
		r, err := session.CallTool(ctx, params)
		if err == nil && r.IsError {
			err = fmt.Errorf("%s failed: %+v", tool, r.Content)
		}
		ended <- err
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("a call that is to hang has ended: %v", err)
	case <-ctx.Done():
		t.Fatal("a call does not arrive")
	}
	return session, ended
}

// toldWithin waits for the ends of pending calls, which have to say who has ended and why, and returns how long the last one took.
func toldWithin(t *testing.T, bound time.Duration, began time.Time, dead hostUp, why []registry.Reason, pending ...<-chan error) time.Duration {
	t.Helper()
	deadline := bustest.Context(t).Done()
	for _, p := range pending {
		select {
		case err := <-p:
			failed := servers.Failed(err)
			if !errors.Is(failed, wire.ErrEnded) {
				t.Fatalf("a pending call ended with %v", err)
			}
			f := failed.Facts()
			reason := registry.Reason(strings.TrimPrefix(f.Why, "its lease ended: "))
			if f.Instance != dead.Instance || f.Lease != dead.Session || f.Executed != "unknown" || !slices.Contains(why, reason) {
				t.Errorf("a pending call was told %+v; instance %s with lease %s is dead, for one of %q", f, dead.Instance, dead.Session, why)
			}
		case <-deadline:
			t.Fatal("a pending call was never told")
		}
	}
	took := time.Since(began)
	if took > bound {
		t.Errorf("the pending calls were told after %v; %v is the bound", took, bound)
	}
	return took
}

// refusedAtOnce makes new calls to a dead name, with a registry and without one.
func refusedAtOnce(t *testing.T, p process, name string, session *mcp.ClientSession) (took time.Duration) {
	t.Helper()
	bare := connectLater(&servers.Transport{Conn: p.conn, Name: name})
	for what, call := range map[string]func(ctx context.Context) error{
		"with a registry": func(ctx context.Context) error {
			_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "who"})
			return err
		},
		"without a registry": bare,
	} {
		start := time.Now()
		err := call(bustest.Context(t))
		took = max(took, time.Since(start))
		failed := servers.Failed(err)
		if !errors.Is(failed, wire.ErrNoResponders) && !errors.Is(failed, wire.ErrNoName) || failed.Facts().Executed != "no" {
			t.Errorf("a new call %s: %v", what, err)
		}
	}
	if took > time.Second {
		t.Errorf("a new call failed after %v", took)
	}
	return took
}

// connectLater opens a session when it is called, and says why there is none.
func connectLater(to *servers.Transport) func(context.Context) error {
	return func(ctx context.Context) error {
		session, err := client(nil).Connect(ctx, to, &mcp.ClientSessionOptions{ProtocolVersion: modern})
		if err == nil {
			session.Close()
			return errors.New("connected")
		}
		return err
	}
}

// kill -9 of a server's process: who waits for it is told when its lease ends, and nobody new waits at all.
func TestKilledServerEndsItsCalls(t *testing.T) {
	nodes := startNodes(t)
	there := observe(t, nodes[1])
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	var told, refused []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("victim-%d", i)
		victim := startHostOn(t, name, nodes[i%3])
		if err := there.reg.Refresh(bustest.Context(t)); err != nil {
			t.Fatal(err)
		}
		free, first := there.hang(t, "hang", name, modern)
		pinned, second := there.hang(t, "hang", name, legacy)
		began := time.Now()
		if err := syscall.Kill(victim.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		told = append(told, toldWithin(t, time.Second, began, victim.up, []registry.Reason{registry.ReasonDisconnected}, first, second))
		refused = append(refused, refusedAtOnce(t, there, name, free))
		if err := pinned.Wait(); err == nil {
			t.Error("the pinned session ended without a reason")
		}
	}
	slices.Sort(told)
	slices.Sort(refused)
	t.Logf("%d kills: pending calls told at the median %v, worst %v; a new call fails within %v, worst %v",
		rounds, told[rounds/2], told[rounds-1], refused[rounds/2], refused[rounds-1])
}

// kill -9 of a node, with a server on it and another one connected to it. The one on it is dead: its calls end with its lease, and new ones at once.
// The other moves to a node that lives: it keeps its name and its token, answers again, and finishes what it was at.
func TestKilledNodeEndsTheCallsOfWhatDiedWithIt(t *testing.T) {
	for role, bound := range map[string]time.Duration{"leader": 4 * time.Second, "bystander": 2 * time.Second} {
		t.Run(role, func(t *testing.T) {
			nodes := startNodes(t)
			victim := nodes[pick(t, nodes, role)]
			survivors := slices.DeleteFunc(slices.Clone(nodes), func(n *hostProcess) bool { return n == victim })
			rover := startHostOn(t, "rover", victim)
			if rover.up.Server != victim.up.ID {
				t.Fatalf("the rover is on %s, not on the victim", rover.up.Server)
			}
			there := observe(t, survivors[0])
			if err := there.reg.Refresh(bustest.Context(t)); err != nil {
				t.Fatal(err)
			}
			free, first := there.hang(t, "hang", "on-"+victim.up.Node, modern)
			_, second := there.hang(t, "hang", "on-"+victim.up.Node, legacy)
			_, other := there.hang(t, "hang", "on-"+survivors[1].up.Node, modern)
			roving, waited := there.hang(t, "wait", "rover", modern)

			began := time.Now()
			if err := syscall.Kill(victim.PID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			why := []registry.Reason{registry.ReasonServerLost, registry.ReasonDisconnected, registry.ReasonNoResponders}
			told := toldWithin(t, bound, began, victim.up, why, first, second)
			refused := refusedAtOnce(t, there, "on-"+victim.up.Node, free)

			var now hostUp
			bustest.Eventually(t, "the rover answers on another node", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				r, err := roving.CallTool(ctx, &mcp.CallToolParams{Name: "who"})
				if err != nil {
					return false
				}
				if got := r.Content[0].(*mcp.TextContent).Text; got != "rover" {
					t.Fatalf("it is %s that answers", got)
				}
				return true
			})
			moved := time.Since(began)
			rover.Send("again")
			rover.JSON(&now)
			if now.Session != rover.up.Session || now.Instance != rover.up.Instance || now.Token != rover.up.Token || !now.Serving || now.Server == victim.up.ID {
				t.Errorf("the rover was %+v, is %+v", rover.up, now)
			}
			if record, err := there.reg.Whereis("rover"); err != nil || record.Token != rover.up.Token {
				t.Errorf("whereis rover: %+v, %v", record, err)
			}
			meant := connect(t, client(nil), &servers.Transport{Conn: there.conn, Registry: there.reg, Name: "rover", Token: rover.up.Token}, modern)
			if got := call(t, meant, "who", nil); got != "rover" {
				t.Errorf("with the token of before: %q", got)
			}
			rover.Send("go")
			if err := <-waited; err != nil {
				t.Errorf("the call that the rover was at: %v", err)
			}
			select {
			case err := <-other:
				t.Errorf("a call of a server that lives has ended: %v", err)
			default:
			}
			t.Logf("%s killed: pending calls told after %v, a new call fails within %v, the rover answers after %v", role, told, refused, moved)
		})
	}
}

// pick finds the node that leads the bucket, or one that neither does nor keeps the scope.
func pick(t *testing.T, nodes []*hostProcess, role string) int {
	t.Helper()
	there := observe(t, nodes[0])
	store, err := kvstore.OpenJetStream(t.Context(), there.conn.NATS(), "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := store.Info(bustest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	var kept string
	bustest.Eventually(t, "somebody keeps the scope", func() bool {
		k, ok := there.reg.Keeper()
		kept = k.Node
		return ok
	})
	return slices.IndexFunc(nodes, func(n *hostProcess) bool {
		return (n.up.Node == info.Leader) == (role == "leader") && (role == "leader" || n.up.Node != kept)
	})
}
