//go:build linux

package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// lost are the scenarios that translation between the protocols cannot satisfy, or not whole, each with the reason that the protocols give.
var lost = map[string]map[string]string{
	modernRevision: {
		"input-required-result-basic-elicitation": "the scenario wants the key that this server gives its question; a question of the older protocol has none, so the adapter makes one",
		"input-required-result-multi-round":       "to a legacy client the server's SDK puts the questions itself, and only once: the second round never leaves the server",
	},
	legacyRevision: {
		"elicitation-sep1034-defaults": noAsking,
		"elicitation-sep1330-enums":    noAsking,
		"tools-call-elicitation":       noAsking,
		"tools-call-sampling":          noAsking,
		"tools-call-with-logging":      "log messages of the newer protocol name no request: of a process that many clients share nobody can tell whose they are",
	},
}

// lostChecks are the single checks of which the same is true, of scenarios whose others have to pass.
var lostChecks = map[string]string{
	"sep-2575-http-server-no-independent-requests-on-stream": "it waits 600 ms for a call by a client with other capabilities, for which a process of the server is started",
}

// unknown are the failures of a scenario that no check explains.
func unknown(o outcome) (why []string) {
	for _, w := range o.why {
		if id, _, _ := strings.Cut(w, ":"); lostChecks[id] == "" {
			why = append(why, w)
		}
	}
	if len(o.why) < o.failed {
		why = append(why, "failures without a check's id")
	}
	return why
}

const noAsking = "the tool asks its client by a request of its own; the newer protocol has none, so a server of that alone refuses it itself"

// TestConformanceByTranslation runs the set of each revision against a server of the other protocol alone. What fails has to be known, and why.
func TestConformanceByTranslation(t *testing.T) {
	s := newSuite(t)
	url, gateway := busWithGateway(t)
	bridged(t, url, "legacy-only", "erafilter", "server/discover", s.server)
	bridged(t, url, "modern-only", "erafilter", "initialize", s.server)
	for _, c := range []struct{ name, revision string }{{"legacy-only", modernRevision}, {"modern-only", legacyRevision}} {
		t.Run(c.revision+" of "+c.name, func(t *testing.T) {
			got := s.runServer(t, gateway+"/s/"+c.name+"/mcp", c.revision)
			t.Log(got)
			for _, name := range slices.Sorted(maps.Keys(got)) {
				o, why := got[name], lost[c.revision][name]
				switch {
				case o.failed > 0 && !o.unscored && why == "":
					if left := unknown(o); left != nil {
						t.Errorf("%s: %d checks failed: %s", name, o.failed, strings.Join(left, " | "))
					} else {
						t.Logf("%s: %d passed, %d failed, as known", name, o.passed, o.failed)
					}
				case o.failed > 0 && why != "":
					t.Logf("%s: %d passed, %d failed, as known: %s", name, o.passed, o.failed, why)
				case why != "":
					t.Logf("%s passes, and is listed as lost: %s", name, why)
				}
			}
		})
	}
}
