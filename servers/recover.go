package servers

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Recover is a receiving middleware for an SDK server: a panic in a handler ends that one call, with an internal error (-32603), and is logged with its stack.
// Without it a panic ends the process. Use it where the handlers share no state that a panic can leave half changed. A panic on a goroutine that a handler has started ends
// the process all the same.
//
//	server.AddReceivingMiddleware(servers.Recover(logger))
//
// log nil: slog's default.
func Recover(log *slog.Logger) mcp.Middleware {
	return func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (result mcp.Result, err error) {
			defer func() {
				if why := recover(); why != nil {
					logger := log
					if logger == nil {
						logger = slog.Default()
					}
					logger.Error("a handler has panicked", "method", method, "panic", why, "stack", string(debug.Stack()))
					result, err = nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: fmt.Sprintf("%s: the handler panicked", method)}
				}
			}()
			return next(ctx, method, req)
		}
	}
}
