package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestConvert(t *testing.T) {
	var s schema
	if err := json.Unmarshal([]byte(`{"type":"object","properties":{
		"n":{"type":"number"},"i":{"type":"integer"},"b":{"type":"boolean"},"t":{"type":"string"},"o":{"type":"object"},
		"l":{"type":"array","items":{"type":"integer"}},"maybe":{"type":["null","integer"]},"either":{"anyOf":[{"type":"integer"},{"type":"string"}]},
		"any":{},"ref":{"$ref":"#/x"}},"required":["n"],"additionalProperties":false}`), &s); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want, wrong string }{
		{"n=1", `{"n":1}`, ""},
		{"n=9007199254740993", `{"n":9007199254740993}`, ""}, // as it was written
		{"n=1e3", `{"n":1e3}`, ""},
		{"n=1 i=2 b=true t=5 t2=", "", `no such argument: "t2"`},
		{"n=1 i=2 b=true t=5", `{"b":true,"i":2,"n":1,"t":"5"}`, ""},
		{"n=1 t=", `{"n":1,"t":""}`, ""},
		{"n=1 t=a=b", `{"n":1,"t":"a=b"}`, ""},
		{`n=1 o={"x":1}`, `{"n":1,"o":{"x":1}}`, ""},
		{"n=1 o=x", "", `argument "o" must be an object`},
		{"n=1 l=1 l=2", `{"l":[1,2],"n":1}`, ""},
		{"n=1 l=[1,2]", `{"l":[1,2],"n":1}`, ""},
		{"n=1 l=x", "", `argument "l" must be an integer`},
		{"n=1 maybe=null", `{"maybe":null,"n":1}`, ""},
		{"n=1 maybe=7", `{"maybe":7,"n":1}`, ""},
		{"n=1 maybe=x", "", `argument "maybe" must be an integer`},
		{"n=1 either=7", `{"either":7,"n":1}`, ""},
		{"n=1 either=x", `{"either":"x","n":1}`, ""},
		{"n=1 any=x ref=7", `{"any":"x","n":1,"ref":"7"}`, ""},
		{`n=1 any:={"x":[1]}`, `{"any":{"x":[1]},"n":1}`, ""},
		{"n:=null", `{"n":null}`, ""},
		{"i=1.5 n=1", "", `argument "i" must be an integer, got "1.5"`},
		{"n=0x10", "", `argument "n" must be a number`},
		{"n=NaN", "", `argument "n" must be a number`},
		{"n=1 n=2", "", `argument "n" is given twice`},
		{"i=1", "", `argument "n" is missing`},
		{"n=1 =x", "", `not an argument`},
		{"n=1 x", "", `not an argument: "x"`},
		{"n:=x", "", `n:= is followed by no JSON`},
	} {
		given, err := (&env{}).parseArguments(strings.Fields(c.args))
		var got json.RawMessage
		if err == nil {
			got, err = given.convert(&s, "toolbus call x y")
		}
		if c.wrong == "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: %s, %v; not %s", c.args, got, err, c.want)
		}
		if c.wrong != "" {
			f, ok := errors.AsType[*failure](err)
			if !ok || f.class != classUsage || f.hint == "" || !strings.Contains(f.msg, c.wrong) {
				t.Errorf("%s: %s, %v; not %q", c.args, got, err, c.wrong)
			}
		}
	}
}

// A schema that means nothing to us must not stop a call: the server decides.
func TestStrangeSchemas(t *testing.T) {
	for _, text := range []string{`true`, `false`, `{}`, `{"type":5}`, `{"properties":[]}`, `{"required":"x"}`, `{"properties":{"a":false}}`, `[]`, `null`} {
		var s schema
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		given := arguments{pairs: []argument{{key: "a", text: "1"}}}
		got, err := given.convert(&s, "")
		if err != nil || string(got) != `{"a":"1"}` {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}
