package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
)

// rewrite returns msg with some of its values replaced and every other byte as it is. with is called for each value of the message, of
// its params and of their _meta, with its path (id, params.progressToken, params._meta.progressToken) and its bytes; it returns what
// shall stand there instead, or nil. msg itself is not changed.
func rewrite(msg json.RawMessage, with func(path string, value json.RawMessage) json.RawMessage) (json.RawMessage, error) {
	var out []byte
	kept := 0 // up to where msg is in out
	var object func(base int, path string) error
	object = func(base int, path string) error {
		dec := json.NewDecoder(bytes.NewReader(msg[base:]))
		if t, err := dec.Token(); err != nil || t != json.Delim('{') {
			return errors.New("bridge: not an object")
		}
		for dec.More() {
			t, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := t.(string)
			at := path + name
			var value json.RawMessage
			if err := dec.Decode(&value); err != nil {
				return err
			}
			to := base + int(dec.InputOffset())
			from := to - len(value)
			if !bytes.Equal(msg[from:to], value) {
				return errors.New("bridge: lost in the message")
			}
			if (at == "params" || at == "params._meta") && value[0] == '{' {
				if err := object(from, at+"."); err != nil {
					return err
				}
				continue
			}
			if instead := with(at, value); instead != nil {
				out = append(append(out, msg[kept:from]...), instead...)
				kept = to
			}
		}
		return nil
	}
	if err := object(0, ""); err != nil {
		return nil, err
	}
	return append(out, msg[kept:]...), nil
}
