package bus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// ServiceInfo is what a node shows of itself as a NATS service.
type ServiceInfo struct {
	Name        string // "toolbus" if empty; what a service's name cannot have becomes "-"
	Version     string // a semantic version; anything else becomes 0.0.0
	Description string
	Metadata    map[string]string
}

// Announce shows this process in `nats micro ls`, as one service without endpoints. One for each node, never one for each MCP server: a
// service costs nine subscriptions and as many goroutines (10,000 of them 467 MB). stop takes it back. Errors: ErrClosed,
// ErrDisconnected.
func (c *Conn) Announce(ctx context.Context, info ServiceInfo) (stop func() error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !c.nc.IsConnected() {
		if c.nc.IsClosed() {
			return nil, ErrClosed
		}
		return nil, ErrDisconnected
	}
	svc, err := micro.AddService(c.nc, micro.Config{
		Name:        serviceName(info.Name),
		Version:     serviceVersion(info.Version),
		Description: info.Description,
		Metadata:    info.Metadata,
	})
	if err != nil {
		return nil, fmt.Errorf("bus: announce: %w", translate(err))
	}
	return func() error {
		if err := svc.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			return translate(err)
		}
		return nil
	}, nil
}

func serviceName(name string) string {
	if name == "" {
		return "toolbus"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, name)
}

// semver is the form that semver.org suggests, as micro demands it.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

func serviceVersion(v string) string {
	v = strings.TrimPrefix(v, "v")
	if semver.MatchString(v) {
		return v
	}
	return "0.0.0"
}
