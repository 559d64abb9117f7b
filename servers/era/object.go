package era

import (
	"bytes"
	"encoding/json"
)

// object is a JSON object as its members, in their order, with names and values as they were written. Translation takes members out and puts
// members in; what it does not know stays as it is, to the byte.
type object []member

type member struct {
	name   string
	quoted json.RawMessage // the name as it was written
	value  json.RawMessage
}

// parse takes an object apart. It is nil for anything else, and for what is no JSON; values are not looked into.
func parse(raw []byte) object {
	i := blank(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return nil
	}
	o := object{}
	for i = blank(raw, i+1); i < len(raw) && raw[i] != '}'; {
		from := i
		i = skip(raw, i)
		if i < 0 || raw[from] != '"' {
			return nil
		}
		m := member{quoted: raw[from:i:i]}
		if json.Unmarshal(m.quoted, &m.name) != nil {
			return nil
		}
		if i = blank(raw, i); i >= len(raw) || raw[i] != ':' {
			return nil
		}
		from = blank(raw, i+1)
		if i = skip(raw, from); i < 0 {
			return nil
		}
		m.value = raw[from:i:i]
		o = append(o, m)
		if i = blank(raw, i); i < len(raw) && raw[i] == ',' {
			i = blank(raw, i+1)
		}
	}
	if i >= len(raw) {
		return nil
	}
	return o
}

// items takes an array apart; nil for anything else.
func items(raw []byte) []json.RawMessage {
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all
}

func blank(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// skip returns where the value that begins at i ends, -1 if it does not.
func skip(raw []byte, i int) int {
	depth, from := 0, i
	for i < len(raw) {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			if i >= len(raw) {
				return -1
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
		default: // a number or a word
			for i < len(raw) && bytes.IndexByte([]byte(`,:]}"{[ `+"\t\n\r"), raw[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			if i == from {
				return -1
			}
			return i
		}
	}
	return -1
}

// get is a member's value, nil if there is none. Of two the last counts, as for most readers.
func (o object) get(name string) json.RawMessage {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].name == name {
			return o[i].value
		}
	}
	return nil
}

// text is a member that is a string, "" if it is none.
func (o object) text(name string) string {
	var s string
	_ = json.Unmarshal(o.get(name), &s) // anything else is none
	return s
}

// set returns the object with one member put in, in the place of those of that name.
func (o object) set(name string, value json.RawMessage) object {
	quoted, _ := json.Marshal(name) // a string always can
	return append(o.without(name), member{name: name, quoted: quoted, value: value})
}

// lacking is set where the object has no such member.
func (o object) lacking(name string, value json.RawMessage) object {
	if o.get(name) != nil {
		return o
	}
	return o.set(name, value)
}

// without returns the object less some members.
func (o object) without(names ...string) object {
	out := make(object, 0, len(o)+1)
next:
	for _, m := range o {
		for _, name := range names {
			if m.name == name {
				continue next
			}
		}
		out = append(out, m)
	}
	return out
}

// raw puts the object together again.
func (o object) raw() json.RawMessage {
	size := 2
	for _, m := range o {
		size += len(m.quoted) + len(m.value) + 2
	}
	out := make([]byte, 0, size)
	out = append(out, '{')
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, m.quoted...), ':')
		out = append(out, m.value...)
	}
	return append(out, '}')
}

// quote makes a JSON string.
func quote(s string) json.RawMessage {
	q, _ := json.Marshal(s) // a string always can
	return q
}

// canonical is one spelling for all texts that mean the same value: members sorted, no blanks. What is no JSON is as it is.
func canonical(raw json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // a number that no float64 holds is another one
	var v any
	if dec.Decode(&v) != nil {
		return string(raw)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(out)
}

// isObject tells whether a value is an object.
func isObject(raw json.RawMessage) bool {
	i := blank(raw, 0)
	return i < len(raw) && raw[i] == '{'
}
