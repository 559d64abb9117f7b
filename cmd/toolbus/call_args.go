package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// schema is what is read of a tool's inputSchema: enough to turn words into values. The rest of JSON Schema is the server's business.
type schema struct {
	raw        json.RawMessage
	types      []string
	properties map[string]schema
	items      *schema
	required   []string
	closed     bool // additionalProperties is false

	enum        []json.RawMessage
	description string
	fallback    json.RawMessage // default
}

// UnmarshalJSON reads any schema: what is not understood counts as not said.
func (s *schema) UnmarshalJSON(data []byte) error {
	s.raw = bytes.Clone(data)
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil { // true and false are schemas too
		return nil
	}
	var one string
	if json.Unmarshal(m["type"], &one) == nil {
		s.types = []string{one}
	} else {
		_ = json.Unmarshal(m["type"], &s.types)
	}
	_ = json.Unmarshal(m["properties"], &s.properties)
	_ = json.Unmarshal(m["required"], &s.required)
	_ = json.Unmarshal(m["enum"], &s.enum)
	_ = json.Unmarshal(m["description"], &s.description)
	s.fallback = m["default"]
	if items, ok := m["items"]; ok {
		s.items = new(schema)
		_ = s.items.UnmarshalJSON(items)
	}
	for _, choice := range []string{"anyOf", "oneOf"} { // optional values are often written so
		var list []schema
		if len(s.types) == 0 && json.Unmarshal(m[choice], &list) == nil {
			for _, c := range list {
				s.types = append(s.types, c.types...)
				if c.items != nil {
					s.items = c.items
				}
			}
		}
	}
	s.closed = string(m["additionalProperties"]) == "false"
	return nil
}

// MarshalJSON writes the schema as it came.
func (s schema) MarshalJSON() ([]byte, error) {
	if s.raw == nil {
		return []byte("{}"), nil
	}
	return s.raw, nil
}

// usage is how the arguments are written: a=NUMBER [b=STRING].
func (s schema) usage() string {
	var out []string
	for _, optional := range []bool{false, true} {
		for _, k := range slices.Sorted(maps.Keys(s.properties)) {
			if slices.Contains(s.required, k) == optional {
				continue
			}
			word := k + "=" + strings.ToUpper(s.properties[k].kind())
			if optional {
				word = "[" + word + "]"
			}
			out = append(out, word)
		}
	}
	return strings.Join(out, " ")
}

// kind is the type for people.
func (s schema) kind() string {
	for _, t := range s.types {
		if t != "null" {
			return t
		}
	}
	return "json"
}

// arguments are those of a command line.
type arguments struct {
	raw   json.RawMessage // the whole object, where that was given
	pairs []argument
}

type argument struct {
	key, text string
	json      json.RawMessage // of key:=json
}

// parseArguments reads KEY=VALUE, KEY:=JSON, one JSON object, or - for one on stdin.
func (e *env) parseArguments(args []string) (arguments, error) {
	if len(args) == 1 && (args[0] == "-" || strings.HasPrefix(args[0], "{")) {
		text := []byte(args[0])
		if args[0] == "-" {
			var err error
			if text, err = io.ReadAll(e.stdin); err != nil {
				return arguments{}, err
			}
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil || object == nil {
			return arguments{}, usage(`arguments are one JSON object: '{"a":5,"b":3}'`, "the arguments are no JSON object")
		}
		return arguments{raw: bytes.TrimSpace(text)}, nil
	}
	out := arguments{}
	for _, a := range args {
		key, text, ok := strings.Cut(a, "=")
		if !ok || key == "" || key == ":" {
			return out, usage("an argument is KEY=VALUE or KEY:=JSON, or all of them one JSON object", "not an argument: %s", quote(a))
		}
		arg := argument{key: key, text: text}
		if k, ok := strings.CutSuffix(key, ":"); ok {
			if !json.Valid([]byte(text)) {
				return out, usage("strings in JSON have quotes: "+k+`:='"text"'`, "%s:= is followed by no JSON: %s", k, quote(text))
			}
			arg = argument{key: k, json: json.RawMessage(text)}
		}
		out.pairs = append(out.pairs, arg)
	}
	return out, nil
}

// convert makes the object of the pairs. With a schema it converts, and finds what is unknown or missing before anything is called.
func (a arguments) convert(s *schema, command string) (json.RawMessage, error) {
	values := map[string]json.RawMessage{}
	if s == nil {
		s = &schema{}
	} else if err := a.check(s, command); err != nil {
		return nil, err
	}
	lists := map[string][]json.RawMessage{}
	for _, p := range a.pairs {
		property := s.properties[p.key]
		switch {
		case p.json != nil:
			values[p.key] = p.json
		case slices.Contains(property.types, "array") && !strings.HasPrefix(strings.TrimSpace(p.text), "["):
			item := schema{}
			if property.items != nil {
				item = *property.items
			}
			v, err := item.value(p.key, p.text, command)
			if err != nil {
				return nil, err
			}
			lists[p.key] = append(lists[p.key], v)
		default:
			if _, twice := values[p.key]; twice {
				return nil, usage("only arrays are given item by item", "argument %q is given twice", p.key)
			}
			v, err := property.value(p.key, p.text, command)
			if err != nil {
				return nil, err
			}
			values[p.key] = v
		}
	}
	for k, list := range lists {
		raw, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		values[k] = raw
	}
	return json.Marshal(values)
}

func (a arguments) check(s *schema, command string) error {
	known := slices.Sorted(maps.Keys(s.properties))
	given := map[string]bool{}
	for _, p := range a.pairs {
		given[p.key] = true
		if _, ok := s.properties[p.key]; !ok && (s.closed || nearest(p.key, known) != "") {
			return s.unknown(p.key, p.key, command)
		}
	}
	for _, k := range s.required {
		if !given[k] {
			return usage("usage: "+command+" "+s.usage(), "argument %q is missing", k)
		}
	}
	return nil
}

// choices lists what an enum allows.
func (s schema) choices() string {
	var out []string
	for _, c := range s.enum {
		var text string
		if json.Unmarshal(c, &text) != nil {
			text = string(c)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// value converts one word, and checks that it is one of those that the schema lists, if it does.
func (s schema) value(key, text, command string) (json.RawMessage, error) {
	raw, err := s.typed(key, text, command)
	if err != nil || len(s.enum) == 0 {
		return raw, err
	}
	for _, c := range s.enum {
		var a, b any
		if string(c) == string(raw) || json.Unmarshal(c, &a) == nil && json.Unmarshal(raw, &b) == nil && reflect.DeepEqual(a, b) {
			return raw, nil
		}
	}
	return nil, usage(command+" "+key+":=JSON takes any value as it is", "argument %q must be one of %s, got %s", key, s.choices(), quote(text))
}

// typed converts one word. A schema that allows several types takes the first that fits, a string last of all.
func (s schema) typed(key, text, command string) (json.RawMessage, error) {
	raw := json.RawMessage(text)
	for _, t := range s.types {
		switch t {
		case "integer", "number":
			f, err := strconv.ParseFloat(text, 64)
			if err == nil && json.Valid(raw) && (t == "number" || f == math.Trunc(f)) {
				return raw, nil // as it was written: no digit is lost
			}
		case "boolean":
			if text == "true" || text == "false" {
				return raw, nil
			}
		case "null":
			if text == "null" {
				return raw, nil
			}
		case "object", "array":
			if v := strings.TrimSpace(text); json.Valid(raw) && strings.HasPrefix(v, map[string]string{"object": "{", "array": "["}[t]) {
				return raw, nil
			}
		}
	}
	if len(s.types) == 0 || slices.Contains(s.types, "string") {
		return json.Marshal(text)
	}
	return nil, usage(command+" "+key+":=JSON takes any value as it is", "argument %q must be %s, got %s", key, article(s.kind()), quote(text))
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}
