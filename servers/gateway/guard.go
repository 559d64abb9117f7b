package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// hostRule is a host that may stand in Host and Origin. Without a port it is meant with any.
type hostRule struct{ name, port string }

func parseHost(text string) hostRule {
	name, port := splitHost(text)
	return hostRule{name, port}
}

// splitHost takes a Host header apart. A name is compared in lower case and without the dot of the root.
func splitHost(text string) (name, port string) {
	name, port, err := net.SplitHostPort(text)
	if err != nil {
		name, port = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), ""
	}
	return strings.ToLower(strings.TrimSuffix(name, ".")), port
}

// admitted tells whether a request may be answered at all, and refuses it otherwise.
//
// A page that a browser shows can send requests to any address, this machine's own included, and can make its own name mean that address. Then Host has
// the page's name; and Origin always has. So both must be known, loopback included: that is no permission, only a proof that no page stands behind the request.
func (g *Gateway) admitted(w http.ResponseWriter, r *http.Request) bool {
	if !g.known(splitHost(r.Host)) {
		g.refuse(w, r, http.StatusForbidden, "this Host is not served here")
		return false
	}
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		u, err := url.Parse(origins[0])
		if err != nil || len(origins) > 1 || u.Host == "" || !g.known(splitHost(u.Host)) {
			g.refuse(w, r, http.StatusForbidden, "this Origin is not served here")
			return false
		}
	}
	if len(g.tokens) > 0 && !g.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="toolbus"`)
		g.refuse(w, r, http.StatusUnauthorized, "a bearer token is needed")
		return false
	}
	return true
}

func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	g.log.Info("refused", "status", status, "why", why, "host", r.Host, "origin", r.Header.Get("Origin"), "from", r.RemoteAddr)
	http.Error(w, why, status)
}

func (g *Gateway) known(name, port string) bool {
	if loopbackName(name) {
		return true
	}
	for _, rule := range g.hosts {
		if rule.name == name && (rule.port == "" || rule.port == port) {
			return true
		}
	}
	return false
}

func loopbackName(name string) bool {
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// authorized compares hashes, in a time that says nothing of the tokens.
func (g *Gateway) authorized(r *http.Request) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return false
	}
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	found := 0
	for _, t := range g.tokens {
		want := sha256.Sum256(t)
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}
