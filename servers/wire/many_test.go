package wire_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/toolbus/toolbus/servers/wire"
)

func TestManyNamesCostNoGoroutines(t *testing.T) {
	s := newStage(t, nil)
	server, err := wire.NewServer(s.server, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	before := runtime.NumGoroutine()
	const names = 500
	for i := range names {
		_, err := server.Serve(t.Context(), wire.ServeOptions{Name: fmt.Sprintf("w%d", i), Instance: fmt.Sprintf("I%d", i), Groups: []string{"g"}}, &fake{handle: echo})
		if err != nil {
			t.Fatal(err)
		}
	}
	if grown := runtime.NumGoroutine() - before; grown > names/10 {
		t.Errorf("%d names took %d goroutines", names, grown)
	}
	for _, i := range []int{0, names / 2, names - 1} {
		p := s.dial(t, wire.Target{Name: fmt.Sprintf("w%d", i)})
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
		if m := hear(t, p); m.Result == nil {
			t.Error(m.raw)
		}
	}
}

// BenchmarkRelay is one request through the wire alone: no SDK at either end.
func BenchmarkRelay(b *testing.B) {
	s := newStage(b, nil)
	serving, err := wire.Serve(b.Context(), s.server, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: echo})
	if err != nil {
		b.Fatal(err)
	}
	defer serving.Close()
	p := s.dial(b, wire.Target{Name: "w"})
	session := s.dial(b, wire.Target{Name: "w"})
	open(b, session)
	for name, p := range map[string]wire.Pipe{"shared": p, "session": session} {
		b.Run("path="+name, func(b *testing.B) {
			b.ReportAllocs()
			msg := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"0123456789012345678901234567890123456789"}}}`)
			for b.Loop() {
				if err := p.Write(b.Context(), append([]byte(nil), msg...)); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Read(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
