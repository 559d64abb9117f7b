package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

var (
	// ErrExposed is the error of Listen for an address that other machines reach, without what keeps strangers out.
	ErrExposed = errors.New("gateway: exposed")
	// ErrAddress is the error of Listen for an address that cannot be had.
	ErrAddress = errors.New("gateway: cannot listen")
)

// DefaultAddress is where a gateway listens if nobody says otherwise.
const DefaultAddress = "127.0.0.1:4280"

// Listen opens an address for Serve. Beyond loopback opts must have Tokens, which keep strangers out, and Hosts, which keep browsers' pages out;
// else the error is ErrExposed. Port 0 takes a free one. An address that cannot be had is ErrAddress.
func Listen(ctx context.Context, address string, opts *Options) (net.Listener, error) {
	if opts == nil {
		opts = &Options{}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() && (len(opts.Tokens) == 0 || len(opts.Hosts) == 0) {
		_ = l.Close() // nobody has connected yet who could be answered
		return nil, fmt.Errorf("%w: other machines reach %s, so it needs a token and the names by which it is reached", ErrExposed, l.Addr())
	}
	return l, nil
}

// Serve answers what comes in at l until ctx ends. Then it takes no more, ends the streams whose clients can go on at another gateway, and waits for the other
// requests up to drain. It closes l and the Gateway, and returns nil after ctx, or why l failed.
func (g *Gateway) Serve(ctx context.Context, l net.Listener, drain time.Duration) error {
	server := &http.Server{
		Handler:           g,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug), // connections that clients broke
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }() // ends with Shutdown or Close
	var err error
	select {
	case err = <-failed:
		failed <- err
		err = fmt.Errorf("gateway: %w", err)
	case <-ctx.Done():
	}
	g.leave()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if server.Shutdown(end) != nil { // some requests are left
		g.cancel()
		_ = server.Close()
	}
	<-failed
	return errors.Join(err, g.Close())
}

// health says whether this gateway can serve: for a balancer, and for a person with curl.
func (g *Gateway) health(w http.ResponseWriter) {
	if !g.far.healthy() {
		http.Error(w, "the bus is not connected", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // who asks and does not wait need not know
}

// patientBody gives a client that sends slowly, but sends, the time that it needs.
type patientBody struct {
	from    func([]byte) (int, error)
	control *http.ResponseController
	stall   time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.stall)) // not every ResponseWriter has one
	return b.from(p)
}
