package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// attempt is how a child is asked what it is. The zero attempt is none.
type attempt int

const (
	askBoth   attempt = iota + 1 // server/discover, and initialize if that is not answered in ProbeTimeout
	askModern                    // server/discover alone: an earlier child has answered it, but too late
	askLegacy                    // initialize alone: an earlier child did not survive server/discover
)

// The ids of the bridge's own requests. A client's never meet them: they are answered before the first client comes.
const (
	idDiscover   = `"toolbus-discover"`
	idInitialize = `"toolbus-initialize"`
)

// initialise starts children until one is an MCP server. ask is how the first of them is asked. It waits for its turn among all starts of this process.
func (s *Stdio) initialise(ctx context.Context, ask attempt) (*Child, *servers.Info, error) {
	done, err := turn(ctx)
	if err != nil {
		return nil, nil, &StartError{Command: s.name(), Step: "start", Err: err}
	}
	defer done()
	tooLong := fmt.Errorf("no answer within %s: %w", s.opts.StartTimeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.StartTimeout, tooLong)
	defer cancel()
	command := s.name()
	for {
		c, err := StartChild(ctx, s.command, &s.opts.Child)
		if err != nil {
			return nil, nil, err
		}
		info, again, step, err := s.handshake(ctx, c, ask)
		if err == nil && info != nil {
			s.opts.Logger.Debug("server started", "command", command, "era", info.Era, "version", info.Version)
			return c, info, nil
		}
		failed := &StartError{Command: command, Step: step, Err: err}
		c.Close()
		_ = c.Wait(context.Background()) // bounded by the graces of Close
		if !errors.Is(err, ErrExited) {  // which tells it already
			failed.Stderr = c.Stderr()
		}
		if again == 0 {
			return nil, nil, failed
		}
		s.opts.Logger.Debug("starting the server again", "command", command, "why", err)
		ask = again
	}
}

// handshake asks a fresh child what it is. It returns the info, or how the next child should be asked, or neither: then err is final.
// step says what was asked last.
func (s *Stdio) handshake(ctx context.Context, c *Child, ask attempt) (info *servers.Info, again attempt, step string, err error) {
	if ask != askLegacy {
		step = "server/discover"
		a, err := s.ask(ctx, c, idDiscover, step, ask == askBoth)
		switch {
		case err == nil && a.info() != nil:
			return a.info(), 0, step, nil
		case errors.Is(err, ErrExited) && ask == askBoth:
			return nil, askLegacy, step, err
		case err != nil && err != errSlow:
			return nil, 0, step, err
		}
		// Refused, or not answered yet: the spec takes either for a legacy server, which is asked on the same child.
	}
	step = "initialize"
	a, err := s.ask(ctx, c, idInitialize, step, false)
	if err == nil && a.ID == idDiscover {
		if a.info() != nil { // a modern server that was slow to start; this child has been told initialize too, and may be neither now
			return nil, askModern, step, errors.New("server/discover was answered late")
		}
		a, err = await(ctx, c, idInitialize)
	}
	if err == nil && a.Error != nil {
		err = fmt.Errorf("refused with code %d: %s", a.Error.Code, clean(a.Error.Message, 500))
	}
	if err == nil {
		var said servers.Info
		said, err = servers.ReadInitialize(a.Result)
		info = &said
	}
	switch {
	case err == nil:
	case ask == askBoth && ctx.Err() == nil: // the question before may have spoilt this child
		return nil, askLegacy, step, err
	default:
		return nil, 0, step, err
	}
	if err := c.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		return nil, 0, "notifications/initialized", err
	}
	return info, 0, step, nil
}

// errSlow: server/discover was not answered in ProbeTimeout.
var errSlow = errors.New("no answer to server/discover")

// ask sends one of the two requests and waits for its answer; that of the other, when it comes first, is returned too.
func (s *Stdio) ask(ctx context.Context, c *Child, id, method string, briefly bool) (answer, error) {
	client := map[string]string{"name": s.opts.ClientName, "version": s.opts.ClientVersion}
	params := map[string]any{"protocolVersion": servers.LegacyVersion, "capabilities": struct{}{}, "clientInfo": client}
	if id == idDiscover {
		params = map[string]any{"_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion":    servers.ModernVersion,
			"io.modelcontextprotocol/clientInfo":         client,
			"io.modelcontextprotocol/clientCapabilities": struct{}{},
		}}
	}
	msg, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(id), "method": method, "params": params})
	if err != nil {
		return answer{}, err
	}
	if err := c.Write(ctx, msg); err != nil {
		return answer{}, cause(ctx, err)
	}
	if briefly {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.opts.ProbeTimeout, errSlow)
		defer cancel()
	}
	return await(ctx, c, id)
}

// answer is what the bridge reads of a message while it starts a server.
type answer struct {
	ID     string          `json:"-"` // as it was written
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *wire.Error     `json:"error"`
}

// info is what a modern server said about itself, nil in any other answer.
func (a answer) info() *servers.Info {
	if a.ID != idDiscover || a.Error != nil {
		return nil
	}
	if info, ok := servers.ReadDiscover(a.Result); ok {
		return &info
	}
	return nil
}

// await reads until one of the bridge's own requests is answered. The server's requests are answered meanwhile: ping well, others not.
func await(ctx context.Context, c *Child, id string) (answer, error) {
	for {
		raw, err := c.Read(ctx)
		if err != nil {
			return answer{}, cause(ctx, err)
		}
		var m struct {
			answer
			ID json.RawMessage `json:"id"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			c.log.Debug("not understood", "err", err)
			continue
		}
		m.answer.ID = string(m.ID)
		switch {
		case m.Method != "" && m.ID != nil:
			if request, err := wire.Scan(raw); err == nil {
				_ = c.Write(ctx, wire.Unattended(request)) // Read sees a child that has ended
			}
		case m.answer.ID == id, m.answer.ID == idDiscover && id == idInitialize:
			return m.answer, nil
		}
	}
}

// cause is why ctx ended, where that is what err says.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
