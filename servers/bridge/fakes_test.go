//go:build unix

package bridge

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// fakes are what the test binary can be, by its first argument. They speak a line protocol by hand, so that they can break it.
var fakes = map[string]func(args []string) int{
	"cat":    fakeCat,
	"noisy":  fakeNoisy,
	"last":   fakeLastWords,
	"deaf":   fakeDeaf,
	"die":    fakeDie,
	"signal": fakeSignal,
	"stay":   fakeStay,
	"family": fakeFamily,
	"mute":   fakeMute,
}

// fakeCat sends each line back.
func fakeCat([]string) int {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0
		}
		fmt.Print(line)
	}
}

// message is a line that passes for a JSON-RPC message.
func message(n int) string { return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, n) }

// fakeNoisy prints all sorts of noise before, among and on the lines of its messages.
func fakeNoisy([]string) int {
	fmt.Print("Starting server...\n\n", "\x1b[32mready\x1b[0m\r\n")
	fmt.Print(`{"level":30,"msg":"listening"}`, "\n", "42\n", `"text"`, "\n", "{broken\n")
	fmt.Println(message(1))
	fmt.Print("loading 100% ", message(2), "\r\n")
	fmt.Println(strings.Repeat("x", 3<<20))
	fmt.Println("["+message(3), ",", message(4)+"]")
	fmt.Print(message(5)) // and no newline
	return 0
}

// fakeLastWords sends many messages and is gone before anybody has read them.
func fakeLastWords(args []string) int {
	n, _ := strconv.Atoi(args[0])
	for i := range n {
		fmt.Println(message(i))
	}
	fmt.Fprintln(os.Stderr, "that was all")
	return 5
}

// fakeDeaf says one word and never reads.
func fakeDeaf([]string) int {
	fmt.Println(message(1))
	waitFor(syscall.SIGTERM)
	return 0
}

// fakeDie reads one line, complains and dies.
func fakeDie([]string) int {
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	for i := range 40 {
		fmt.Fprintf(os.Stderr, "line %d\n", i)
	}
	fmt.Fprint(os.Stderr, "\x1b[31mfatal: no such database\x1b[0m")
	return 3
}

// fakeSignal ends itself with the signal that it is given.
func fakeSignal(args []string) int {
	n, _ := strconv.Atoi(args[0])
	_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
	select {}
}

// fakeStay does not end when its input does, nor on SIGTERM when told so.
func fakeStay(args []string) int {
	if len(args) > 0 && args[0] == "forever" {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println(message(1))
		select {}
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println(message(1))
	<-c
	return 7
}

// fakeFamily starts a child of its own that stays, and says who both are. With "leave" it then ends itself.
func fakeFamily(args []string) int {
	child := exec.Command(os.Args[0], "stay", "forever")
	child.Stdin, child.Stderr = os.Stdin, os.Stderr
	out, _ := child.StdoutPipe()
	child.ExtraFiles = []*os.File{os.Stdout} // held open, as a careless program does
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = bufio.NewReader(out).ReadString('\n') // it ignores SIGTERM by now
	pids, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "result": []int{os.Getpid(), child.Process.Pid}})
	fmt.Println(string(pids))
	if len(args) > 0 && args[0] == "leave" {
		return 0
	}
	signal.Ignore(syscall.SIGTERM)
	_ = child.Wait()
	return 0
}

// fakeMute closes its stdout and goes on.
func fakeMute([]string) int {
	fmt.Println(message(1))
	os.Stdout.Close()
	waitFor(syscall.SIGTERM)
	return 0
}

func waitFor(s os.Signal) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, s)
	<-c
}
