package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// KindHTTP is the kind that an attached server's record has.
const KindHTTP = "http"

// AttachOptions says how an HTTP server is served under a name. The zero value, and nil, are usable.
type AttachOptions struct {
	Groups   []string          // groups to join besides tools, resources and prompts, which follow from the server's capabilities
	Labels   map[string]string // of the registration
	Metadata map[string]string // of the registration, besides what the server says about itself

	Share bool // share the name with every other Attach that says Share and has the same URL

	HTTP   *HTTPOptions
	Logger *slog.Logger // nil: nothing is logged
}

// Attach makes the MCP server at a URL one that is called name on the bus. It is asked what it is first (*StartError), and registered when it has
// answered; a name that somebody else holds is a *registry.NameTakenError before that. A server that is away later keeps its name: calls are answered with
// why, its record says so, and it comes back by itself. Running ends when the name is somebody else's or the registry is closed.
//
// ctx covers the start. The caller must Close what it got, before it closes reg and conn.
func Attach(ctx context.Context, conn *bus.Conn, reg *registry.Registry, name, url string, opts *AttachOptions) (*Running, error) {
	name, err := registry.ParseName(name)
	if err != nil {
		return nil, err
	}
	o := AttachOptions{}
	if opts != nil {
		o = *opts
	}
	h := HTTPOptions{}
	if o.HTTP != nil {
		h = *o.HTTP
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if h.Logger == nil {
		h.Logger = o.Logger
	}
	digest := ""
	if o.Share {
		var names []string
		for key := range h.Header {
			names = append(names, key)
		}
		slices.Sort(names)
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", url, names))
		digest = hex.EncodeToString(sum[:12]) + "."
	}
	if err := free(ctx, conn, reg, name, digest); err != nil {
		return nil, err
	}
	backend, err := StartHTTP(ctx, url, &h)
	if err != nil {
		return nil, err
	}
	if o.Share {
		digest += behind(backend.Info())
	}
	return present(ctx, conn, reg, name, backend, backend.Backend(), nil, o.Logger, &servers.ServeOptions{
		Kind: KindHTTP, Groups: o.Groups, Labels: o.Labels, Metadata: o.Metadata, Digest: digest, Drain: drainPatience,
	})
}
