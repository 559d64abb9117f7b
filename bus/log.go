package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

func loggerOr(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// levelServerDebug is where nats-server's own debug lines go: below ours, since there are very many.
const levelServerDebug = slog.LevelDebug - 4

// serverLog is nats-server's Logger on slog. A server's Info is our Debug: who runs a node wants to hear of trouble, not of each route.
// It also listens: a fatal line is how the server reports that it cannot start (it does not end the process here), and a closed
// route is known from it milliseconds before the next poll.
type serverLog struct {
	log   *slog.Logger
	fatal chan string // cap 1: the first fatal line
	route func()      // called when a route was closed; may be nil

	mu   sync.Mutex
	hint string // the newest refusal of a route
}

func newServerLog(log *slog.Logger, route func()) *serverLog {
	return &serverLog{log: log, fatal: make(chan string, 1), route: route}
}

func (l *serverLog) debug() bool { return l.log.Enabled(context.Background(), levelServerDebug) }

func (l *serverLog) emit(level slog.Level, format string, v []any) string {
	msg := fmt.Sprintf(format, v...)
	l.log.Log(context.Background(), level, "nats-server: "+msg)
	return msg
}

func (l *serverLog) Noticef(format string, v ...any) {
	// The line has the route's number in front: "127.0.0.1:43210 - rid:12 - Router connection closed: Read Error".
	if l.route != nil && strings.Contains(format, "connection closed") && strings.Contains(format, "rid:") {
		l.route()
	}
	l.emit(slog.LevelDebug, format, v)
}

func (l *serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Plaintext passwords") {
		return // ours are random, made at each start and known to this process alone; a no_auth_user cannot have a hashed one
	}
	l.emit(slog.LevelWarn, format, v)
}

func (l *serverLog) Errorf(format string, v ...any) {
	// A node that is not up yet is no trouble: the server tries it once a second, and WaitReady names it.
	level := slog.LevelError
	if strings.HasPrefix(format, "Error trying to connect to route") {
		level = slog.LevelInfo
	}
	msg := l.emit(level, format, v)
	if refusal(msg) {
		l.mu.Lock()
		l.hint = msg
		l.mu.Unlock()
	}
}

func (l *serverLog) Fatalf(format string, v ...any) {
	msg := l.emit(slog.LevelError, format, v)
	select {
	case l.fatal <- msg:
	default:
	}
}

func (l *serverLog) Debugf(format string, v ...any) { l.emit(levelServerDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any) { l.emit(levelServerDebug, format, v) }

// refusal tells the lines that say why two nodes do not come together from those that only say that they are not connected.
func refusal(msg string) bool {
	low := strings.ToLower(msg)
	for _, part := range []string{"authorization", "authentication", "cluster name", "duplicate server name", "tls handshake"} {
		if strings.Contains(low, part) {
			return true
		}
	}
	return false
}

// routeHint is the newest error line that tells why a node was refused.
func (l *serverLog) routeHint() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hint
}
