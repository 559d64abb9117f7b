package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Kind is the way in which a subject addresses an instance.
type Kind string

const (
	ByName     Kind = "rq" // any instance of a name: a queue group
	ByGroup    Kind = "gr" // one member of a group: a queue group
	ToAll      Kind = "al" // all members of a group, no queue group
	ByInstance Kind = "in" // exactly this instance, in a session or without one
)

const (
	root      = "mcp.v1." // everything that this wire carries begins so
	none      = "_"       // the token for a method, target or session that is not there
	maxToken  = 512       // bytes of an escaped token; a longer one is hashed
	hashed    = "%~"
	maxName   = 128
	maxLabel  = 63
	maxLabels = 8
	maxID     = 64
)

// Subject is the address of one message from a caller to an instance. Method and Target are tokens: MethodToken and TargetToken make
// them from what the message says. NATS permissions on subjects can therefore allow single tools of single servers.
type Subject struct {
	Scope    string
	Kind     Kind
	Instance string // ByInstance only
	Session  string // ByInstance only; "" is none
	Method   string
	Target   string
	Name     string // the name, or for ByGroup and ToAll the group
}

// String builds the subject. It does not check: see Validate.
func (s Subject) String() string {
	method, target := s.Method, s.Target
	if method == "" {
		method = none
	}
	if target == "" {
		target = none
	}
	var b strings.Builder
	b.Grow(len(root) + len(s.Scope) + len(s.Instance) + len(s.Session) + len(method) + len(target) + len(s.Name) + 10)
	b.WriteString(root)
	b.WriteString(s.Scope)
	b.WriteByte('.')
	b.WriteString(string(s.Kind))
	if s.Kind == ByInstance {
		session := s.Session
		if session == "" {
			session = none
		}
		b.WriteByte('.')
		b.WriteString(s.Instance)
		b.WriteByte('.')
		b.WriteString(session)
	}
	for _, token := range [...]string{method, target, s.Name} {
		b.WriteByte('.')
		b.WriteString(token)
	}
	return b.String()
}

// ParseSubject takes a subject apart. It accepts only what String builds from valid parts: each address has one spelling, so that no
// permission can be walked around by another one.
func ParseSubject(subject string) (Subject, error) {
	rest, ok := strings.CutPrefix(subject, root)
	if !ok {
		return Subject{}, fmt.Errorf("wire: subject %q does not begin with %q", subject, root)
	}
	var s Subject
	s.Scope, rest, _ = strings.Cut(rest, ".")
	kind, rest, _ := strings.Cut(rest, ".")
	s.Kind = Kind(kind)
	if s.Kind == ByInstance {
		s.Instance, rest, _ = strings.Cut(rest, ".")
		s.Session, rest, _ = strings.Cut(rest, ".")
		if s.Session == "" {
			return Subject{}, fmt.Errorf("wire: subject %q has no session token", subject)
		}
		if s.Session == none {
			s.Session = ""
		}
	}
	s.Method, rest, _ = strings.Cut(rest, ".")
	s.Target, s.Name, _ = strings.Cut(rest, ".")
	if s.Method == "" || s.Target == "" {
		return Subject{}, fmt.Errorf("wire: subject %q lacks its method or target token", subject)
	}
	if err := s.Validate(); err != nil {
		return Subject{}, err
	}
	return s, nil
}

// Validate says what is wrong with the parts of a subject.
func (s Subject) Validate() error {
	switch {
	case !validID(s.Scope):
		return fmt.Errorf("wire: bad scope %q", s.Scope)
	case s.Kind != ByName && s.Kind != ByGroup && s.Kind != ToAll && s.Kind != ByInstance:
		return fmt.Errorf("wire: unknown kind of subject %q", s.Kind)
	case s.Kind == ByInstance && !validID(s.Instance):
		return fmt.Errorf("wire: bad instance %q", s.Instance)
	case s.Kind == ByInstance && s.Session != "" && !validID(s.Session):
		return fmt.Errorf("wire: bad session %q", s.Session)
	case !validToken(s.Method, true):
		return fmt.Errorf("wire: bad method token %q", s.Method)
	case !validToken(s.Target, false):
		return fmt.Errorf("wire: bad target token %q", s.Target)
	case !ValidName(s.Name):
		return fmt.Errorf("wire: bad name %q", s.Name)
	}
	return nil
}

// MethodToken makes the token of an MCP method: escaped as %XX outside [A-Za-z0-9_/-], "_" for none, hashed over 512 bytes.
func MethodToken(method string) string { return token(method, true) }

// TargetToken makes the token of a tool, prompt or resource: as MethodToken, and the slash is escaped too.
func TargetToken(target string) string { return token(target, false) }

func token(s string, slash bool) string {
	switch s {
	case "":
		return none
	case none:
		return "%5F"
	}
	escapes := 0
	for i := range len(s) {
		if !plain(s[i], slash) {
			escapes++
		}
	}
	if len(s)+2*escapes > maxToken {
		sum := sha256.Sum256([]byte(s))
		return hashed + hex.EncodeToString(sum[:])
	}
	if escapes == 0 {
		return s
	}
	const upper = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+2*escapes)
	for i := range len(s) {
		if c := s[i]; plain(c, slash) {
			b = append(b, c)
		} else {
			b = append(b, '%', upper[c>>4], upper[c&15])
		}
	}
	return string(b)
}

// Unescape gives back what MethodToken or TargetToken made a token of. It is false for a hashed token and for what is none.
func Unescape(token string) (string, bool) {
	if token == none {
		return "", true
	}
	if strings.HasPrefix(token, hashed) {
		return "", false
	}
	if strings.IndexByte(token, '%') < 0 {
		return token, token != ""
	}
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b = append(b, token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", false
		}
		c, err := hex.DecodeString(token[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b = append(b, c[0])
		i += 2
	}
	return string(b), true
}

func validToken(t string, slash bool) bool {
	if t == "" || t == none { // "" is what String writes as none
		return true
	}
	if sum, ok := strings.CutPrefix(t, hashed); ok {
		raw, err := hex.DecodeString(sum)
		return err == nil && len(raw) == sha256.Size && strings.ToLower(sum) == sum
	}
	s, ok := Unescape(t)
	return ok && s != "" && token(s, slash) == t
}

func plain(c byte, slash bool) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '/' && slash
}

// ValidName tells whether s is a name (or group): 1 to 8 labels joined by dots, each [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?, at most
// 128 bytes in all. Folding upper case is for those who take names from people.
func ValidName(s string) bool {
	if len(s) > maxName {
		return false
	}
	labels := 0
	for label := range strings.SplitSeq(s, ".") {
		if labels++; labels > maxLabels || len(label) == 0 || len(label) > maxLabel ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return true
}

// validID checks scopes, instances and sessions: one token that needs no escape and is not "_".
func validID(s string) bool {
	if s == "" || s == none || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		if !plain(s[i], false) {
			return false
		}
	}
	return true
}

// QueueGroup is the queue group in which the instances of a name, or the members of a group, subscribe: a request reaches one of them.
func QueueGroup(name string) string { return name }

// listenSubject is what an instance of name, or a member of the group, subscribes to.
func listenSubject(scope string, kind Kind, name string) string {
	return root + scope + "." + string(kind) + ".*.*." + name
}

// instanceSubject is what an instance subscribes to for itself alone.
func instanceSubject(scope, instance string) string { return root + scope + ".in." + instance + ".>" }
