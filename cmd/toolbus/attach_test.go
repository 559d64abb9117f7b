package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseHealth(t *testing.T) {
	for text, want := range map[string]struct {
		path  string
		every time.Duration
	}{"30s": {"", 30 * time.Second}, "/healthz": {"/healthz", 0}, "/healthz,5s": {"/healthz", 5 * time.Second}, "never": {"", -1}} {
		path, every, err := parseHealth(text)
		if err != nil || path != want.path || every != want.every {
			t.Errorf("%s: %q, %s, %v", text, path, every, err)
		}
	}
	for _, text := range []string{"", "often", "-3s", "/a,,"} {
		if _, _, err := parseHealth(text); classify(err) != classUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseHeaders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("# a comment\n\nX-Key:  secret \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := parseHeaders([]string{"authorization: Bearer a:b"}, file)
	if err != nil || h.Get("Authorization") != "Bearer a:b" || h.Get("X-Key") != "secret" {
		t.Errorf("%v, %v", h, err)
	}
	for _, bad := range []string{"novalue", ": x", "two words: x"} {
		if _, err := parseHeaders([]string{bad}, ""); classify(err) != classUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := parseHeaders(nil, file+"x"); classify(err) != classUsage {
		t.Errorf("no such file: %v", err)
	}
}
