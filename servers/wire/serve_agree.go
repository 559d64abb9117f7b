package wire

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// agree scans a body and proves that subject, headers and body say the same.
func (s *Serving) agree(body []byte, header nats.Header, subject Subject) (Message, *Error) {
	m, err := Scan(body)
	if err != nil {
		return m, &Error{Code: -32700, Message: err.Error()}
	}
	if err := m.check(); err != nil {
		return m, fail(CodeRefused, err.Error(), s.facts())
	}
	target, err := m.Target()
	if err != nil {
		return m, fail(CodeRefused, err.Error(), s.facts())
	}
	differ := ""
	switch {
	case MethodToken(m.Method) != subject.Method:
		differ = fmt.Sprintf("the subject says method %s, the body %q", subject.Method, m.Method)
	case TargetToken(target) != subject.Target:
		differ = fmt.Sprintf("the subject says target %s, the body %q", subject.Target, target)
	case header == nil:
	case mirror(header, HeaderMethod, m.Method):
		differ = fmt.Sprintf("header and body have different methods: %q, %q", header.Get(HeaderMethod), m.Method)
	case mirror(header, HeaderName, target):
		differ = fmt.Sprintf("header and body have different targets: %q, %q", header.Get(HeaderName), target)
	case m.Version != "" && mirror(header, HeaderVersion, m.Version):
		differ = fmt.Sprintf("header and body have different protocol versions: %q, %q", header.Get(HeaderVersion), m.Version)
	}
	if differ != "" {
		return m, fail(CodeRefused, differ, s.facts())
	}
	return m, nil
}

// mirror tells whether a header is there and differs.
func mirror(header nats.Header, key, want string) bool {
	got, ok := header[key]
	return ok && (len(got) != 1 || got[0] != want)
}
