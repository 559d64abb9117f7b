package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

const paramSchema = `{"type":"object","properties":{
	"region":{"type":"string","x-mcp-header":"Region"},"size":{"type":"integer","x-mcp-header":"Size"},
	"dry":{"type":"boolean","x-mcp-header":"Dry"},"deep":{"type":"object","properties":{"tenant":{"type":"string","x-mcp-header":"Tenant"}}},
	"free":{"type":"string"}}}`

// callWith is a call of the tool deploy.
func callWith(args string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"deploy","arguments":` + args + `,` + metaModern + `}}`
}

// lists makes the fake server one with tools, on two pages.
func lists(schema *string) func(ctx context.Context, m wire.Message) []string {
	return func(ctx context.Context, m wire.Message) []string {
		switch {
		case m.Method != "tools/list":
			return echo(ctx, m)
		case strings.Contains(string(m.Raw), `"cursor"`):
			return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"deploy","inputSchema":%s}]}}`, m.ID(), *schema)}
		}
		return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"other","inputSchema":true}],"nextCursor":"2"}}`, m.ID())}
	}
}

func TestParamHeaders(t *testing.T) {
	s := newSite(t, nil)
	schema := paramSchema
	s.bus.answer = lists(&schema)
	for _, c := range []struct {
		args string
		head []string
		want int
	}{
		{`{}`, nil, 200},
		{`{"free":"x"}`, nil, 200},
		{`{"region":"eu"}`, []string{"Mcp-Param-Region: eu"}, 200},
		{`{"region":"eu"}`, []string{"mcp-param-region: eu"}, 200},
		{`{"region":"Österreich"}`, []string{"Mcp-Param-Region: =?base64?w5ZzdGVycmVpY2g=?="}, 200},
		{`{"region":"=?base64?eA"}`, []string{"Mcp-Param-Region: =?base64?eA"}, 200},
		{`{"region":"eu"}`, nil, 400},
		{`{"region":"eu"}`, []string{"Mcp-Param-Region: us"}, 400},
		{`{"region":"eu"}`, []string{"Mcp-Param-Region: EU"}, 400},
		{`{"region":"eu"}`, []string{"Mcp-Param-Region: eu", "Mcp-Param-Region: us"}, 400},
		{`{"region":"eu"}`, []string{"Mcp-Param-Region: =?base64?ZXU?="}, 400},
		{`{"region":["eu"]}`, []string{"Mcp-Param-Region: eu"}, 400},
		{`{}`, []string{"Mcp-Param-Region: eu"}, 400},
		{`{"region":null}`, []string{"Mcp-Param-Region: eu"}, 400},
		{`{"region":null}`, nil, 200},
		{`{"size":3}`, []string{"Mcp-Param-Size: 3"}, 200},
		{`{"size":3}`, []string{"Mcp-Param-Size: 4"}, 400},
		{`{"size":3.5}`, []string{"Mcp-Param-Size: 3.5"}, 400},
		{`{"size":9007199254740993}`, []string{"Mcp-Param-Size: 9007199254740993"}, 400},
		{`{"dry":true}`, []string{"Mcp-Param-Dry: true"}, 200},
		{`{"dry":true}`, []string{"Mcp-Param-Dry: True"}, 400},
		{`{"deep":{"tenant":"t1"}}`, []string{"Mcp-Param-Tenant: t1"}, 200},
		{`{"deep":{"tenant":"t1"}}`, nil, 400},
		{`{"deep":7}`, nil, 200},
		{`7`, nil, 200},
	} {
		head := append(c.head, "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: deploy")
		resp := s.ask(t, "POST", "/s/weather/mcp", callWith(c.args), head...)
		if body := text(t, resp); resp.StatusCode != c.want || c.want == 400 && !strings.Contains(body, "-32020") {
			t.Errorf("%s with %q: %d %s, want %d", c.args, c.head, resp.StatusCode, body, c.want)
		}
	}
}

// A tool that came, or whose schema changed, after the rules were read is judged by what it is now.
func TestParamRulesAreReadAgain(t *testing.T) {
	s := newSite(t, nil)
	schema := `{}`
	s.bus.answer = lists(&schema)
	now := time.Now()
	s.params.now = func() time.Time { return now }
	head := []string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: deploy"}
	status := func(args string, more ...string) int {
		return s.ask(t, "POST", "/s/weather/mcp", callWith(args), append(more, head...)...).StatusCode
	}
	if got := status(`{"region":"eu"}`); got != 200 {
		t.Errorf("without a rule: %d", got)
	}
	schema = paramSchema
	now = now.Add(rulesFresh + time.Second)
	if got := status(`{"region":"eu"}`); got != 400 {
		t.Errorf("with a rule that is new: %d", got)
	}
	schema = `{}`
	now = now.Add(time.Second)
	if got := status(`{"region":"eu"}`); got != 200 {
		t.Errorf("with a rule that is no more: %d", got)
	}
	lists := s.bus.asked["tools/list"]
	for range 10 {
		status(`{}`)
	}
	if s.bus.asked["tools/list"] != lists {
		t.Error("the rules are read for every call")
	}
}

func TestServerWithoutAListHasNoRules(t *testing.T) {
	s := newSite(t, nil)
	s.bus.answer = func(ctx context.Context, m wire.Message) []string {
		if m.Method == "tools/list" {
			return []string{`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`}
		}
		return echo(ctx, m)
	}
	if resp := s.ask(t, "POST", "/s/weather/mcp", callWith(`{}`), "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: deploy"); resp.StatusCode != 200 {
		t.Errorf("got %s", resp.Status)
	}
}
