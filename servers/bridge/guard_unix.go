//go:build unix

package bridge

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// leftoverPoll is how often a guard looks whether the rest of a process group has ended: nobody tells it, they are not its children.
const leftoverPoll = 5 * time.Millisecond

// GuardMain is the whole work of a guard process; the hidden command `toolbus guard` calls it with what follows that word, first
// thing in main, and exits with the status that it returns. It takes [--grace=D] [--] CMD [ARG...], is started by StartChild alone
// (it needs the two pipes that the bridge hands it) and does this:
//
//   - runs CMD in a process group of its own, on the guard's stdin, stdout and stderr themselves: nothing is copied;
//   - when the bridge's pipe ends, for whatever reason, a kill -9 of the bridge included, sends the group SIGTERM and, after D, SIGKILL;
//   - tells the bridge at once how CMD ended, exactly, and then ends in the same way what is left of its group;
//   - on Linux, reaps what CMD leaves to process 1;
//   - stays through signals that are meant for a terminal's foreground; SIGTERM starts the ending.
//
// It returns CMD's exit status, 128 plus the signal that ended it, or 127 when it could not run it. A descendant that has left the group
// (setsid) is not followed.
func GuardMain(args []string) int {
	grace, command, err := parseGuard(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	life, status, err := guardPipes()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	g := &guard{life: life, status: status, grace: grace}
	return g.run(command)
}

type guard struct {
	life, status *os.File
	grace        time.Duration
	group        int
}

// guardPipes takes the two pipes over, so that the child does not get them.
func guardPipes() (life, status *os.File, err error) {
	for _, fd := range []int{guardLife, guardStatus} {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
			return nil, nil, errors.New("guard: started by the bridge only, which hands it two pipes")
		}
		syscall.CloseOnExec(fd)
	}
	// Non-blocking, so that the runtime waits for them without a thread.
	for _, fd := range []int{guardLife, guardStatus} {
		if err := syscall.SetNonblock(fd, true); err != nil {
			return nil, nil, fmt.Errorf("guard: %w", err)
		}
	}
	return os.NewFile(guardLife, "life"), os.NewFile(guardStatus, "status"), nil
}

func (g *guard) run(command []string) int {
	// Caught and not ignored: an ignored signal would stay ignored in the child.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGCHLD)

	// On Linux the child dies with the thread that started it (see childAttr): this goroutine keeps that thread to the end.
	runtime.LockOSThread()
	adopt()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		g.say(report{fail: err.Error()})
		return guardSelf
	}
	g.group = cmd.Process.Pid
	g.say(report{pid: cmd.Process.Pid})
	defer runtime.KeepAlive(letGo())

	ended := make(chan exit, 1)
	go func() {
		_ = cmd.Wait()
		ended <- exitOf(cmd.ProcessState)
	}()
	orders := make(chan string)
	go g.orders(orders)

	var kill <-chan time.Time
	end := func() {
		if kill == nil {
			g.signal(syscall.SIGTERM)
			kill = time.After(g.grace)
		}
	}
	for {
		select {
		case e := <-ended:
			g.say(report{ended: &e})
			g.leftovers()
			if e.signal != 0 {
				return 128 + int(e.signal)
			}
			return e.status
		case order, alive := <-orders:
			switch {
			case !alive:
				orders = nil
				end()
			case order == orderTerm:
				g.signal(syscall.SIGTERM)
			case order == orderKill:
				g.signal(syscall.SIGKILL)
			}
		case s := <-signals:
			switch s {
			case syscall.SIGTERM:
				end()
			case syscall.SIGCHLD:
				reapAdopted(g.group)
			}
		case <-kill:
			g.signal(syscall.SIGKILL)
		}
	}
}

// orders passes on what the bridge says, and closes when the bridge is gone.
func (g *guard) orders(to chan<- string) {
	defer close(to)
	for lines := bufio.NewScanner(g.life); lines.Scan(); {
		to <- lines.Text()
	}
}

// say tells the bridge; a bridge that is gone does not hear it.
func (g *guard) say(r report) { fmt.Fprintln(g.status, r) }

// signal sends s to the child's group. A stopped process does not see SIGTERM before it goes on, so it is made to.
func (g *guard) signal(s syscall.Signal) error {
	err := syscall.Kill(-g.group, s)
	if s == syscall.SIGTERM {
		_ = syscall.Kill(-g.group, syscall.SIGCONT)
	}
	return err
}

// leftovers ends what is left of the group after its leader: npx is gone, say, and the node that it started is not.
func (g *guard) leftovers() {
	if g.signal(syscall.SIGTERM) != nil {
		return // nobody is left
	}
	if !g.left(g.grace) {
		g.signal(syscall.SIGKILL)
		g.left(killPatience)
	}
}

// left waits until the group has nobody any more; a zombie counts, until it is reaped.
func (g *guard) left(patience time.Duration) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(leftoverPoll) {
		if reapAdopted(g.group); syscall.Kill(-g.group, 0) != nil {
			return true
		}
	}
	return false
}

// letGo puts the null device on the three descriptors that are the child's now, so that their ends are seen when the child ends.
func letGo() []*os.File {
	var null []*os.File
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		f.Close() // the next file that is opened gets its number
		if n, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
			null = append(null, n)
		}
	}
	return null
}

func exitOf(state *os.ProcessState) exit {
	if state == nil {
		return exit{status: -1, cause: "ended unseen"}
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exit{status: -1, signal: ws.Signal()}
	}
	return exit{status: state.ExitCode()}
}
