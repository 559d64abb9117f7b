package aggregate

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// span is a piece of a text: the bytes from..to.
type span struct{ from, to int }

func (s span) of(raw []byte) json.RawMessage { return raw[s.from:s.to:s.to] }

var errTwice = errors.New("a member stands twice")

// eachMember calls f for each member of the JSON object that raw is, with where its value stands.
func eachMember(raw []byte, f func(key string, at span) error) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("not an object"), err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		end := int(dec.InputOffset())
		if err := f(key.(string), span{end - len(value), end}); err != nil {
			return err
		}
	}
	return nil
}

// find returns where the value at a path of members stands; false if it is not there. A member that stands twice is an error: two readers could
// take two values for it.
func find(raw []byte, path ...string) (at span, ok bool, err error) {
	at, ok = span{0, len(raw)}, true
	for _, want := range path {
		base := at.from
		ok = false
		err = eachMember(raw[at.from:at.to], func(key string, v span) error {
			if key != want {
				return nil
			}
			if ok {
				return errTwice
			}
			ok, at = true, span{base + v.from, base + v.to}
			return nil
		})
		if err != nil || !ok {
			return span{}, false, err
		}
	}
	return at, true, nil
}

// text returns the string at a path, and where it stands; false if there is none.
func text(raw []byte, path ...string) (string, span, bool) {
	at, ok, err := find(raw, path...)
	var s string
	if err != nil || !ok || raw[at.from] != '"' || json.Unmarshal(raw[at.from:at.to], &s) != nil {
		return "", span{}, false
	}
	return s, at, true
}

// replace returns a copy of raw with other bytes in the place of some.
func replace(raw []byte, at span, with []byte) json.RawMessage {
	return slices.Concat(raw[:at.from], with, raw[at.to:])
}

// quote is a text as JSON.
func quote(s string) json.RawMessage {
	raw, _ := json.Marshal(s) // a string can always be encoded
	return raw
}

// renameURIs gives every string that is a member "uri", at any depth, the name that other has for it. It returns raw itself where there is none.
func renameURIs(raw json.RawMessage, other map[string]string) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(raw))
	type level struct{ object, key bool }
	var depth []level
	var out []byte
	last, uri := 0, false
	for {
		t, err := dec.Token()
		if err != nil { // its end, or what is no JSON: the rest as it is
			break
		}
		top := len(depth) - 1
		switch v := t.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth, uri = append(depth, level{object: v == '{', key: v == '{'}), false
				continue // a value ends with its last brace
			}
			depth = depth[:top]
			top--
		case string:
			if top >= 0 && depth[top].object && depth[top].key {
				depth[top].key, uri = false, v == "uri"
				continue
			}
			if with, ok := other[v]; ok && uri {
				end := int(dec.InputOffset())
				from := bytes.IndexByte(raw[last:end], '"') + last
				if at, ok := valueBefore(raw, from, end); ok {
					out = append(append(out, raw[last:at]...), quote(with)...)
					last = end
				}
			}
		}
		uri = false
		if top >= 0 && depth[top].object {
			depth[top].key = true
		}
	}
	if out == nil {
		return raw
	}
	return append(out, raw[last:]...)
}

// valueBefore finds where the string begins that ends at end. It is not before from.
func valueBefore(raw []byte, from, end int) (int, bool) {
	for at := end - 2; at >= from; at-- {
		if raw[at] != '"' {
			continue
		}
		escapes := 0
		for i := at - 1; i >= from && raw[i] == '\\'; i-- {
			escapes++
		}
		if escapes%2 == 0 {
			return at, true
		}
	}
	return 0, false
}
