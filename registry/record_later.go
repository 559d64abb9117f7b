package registry

import (
	"bytes"
	"encoding/json"
	"iter"
	"reflect"
	"strings"

	"github.com/nats-io/nuid"
)

// later is what a record has that this version does not know: a later version wrote it, or another tool. It is kept when the record is
// written again.
type later struct {
	version int
	fields  []byte // as they stand in the JSON: ,"key":value,...
}

// laterOf finds what of a record is not among the fields that this version knows. data is an object that has been decoded already.
func laterOf(data []byte, version int, known map[string]struct{}) *later {
	var fields []byte
	for key, field := range members(data) {
		if _, ok := known[string(key)]; !ok && !knownAs(known, string(key)) {
			fields = append(append(fields, ','), field...)
		}
	}
	if fields == nil && version <= recordVersion {
		return nil
	}
	var line bytes.Buffer
	if json.Compact(&line, append(append([]byte(`{"":0`), fields...), '}')) != nil {
		return nil // it was decoded: it is JSON
	}
	return &later{version: version, fields: bytes.TrimSuffix(line.Bytes()[len(`{"":0`):], []byte("}"))}
}

// The fields that this version knows of a name and of a member.
var (
	nameFields   = fieldsOf(reflect.TypeFor[nameRecord]())
	memberFields = fieldsOf(reflect.TypeFor[groupRecord]())
)

// knownAs tells whether a field is known in any case: JSON decodes it whatever that is.
func knownAs(known map[string]struct{}, key string) bool {
	for name := range known {
		if strings.EqualFold(name, key) {
			return true
		}
	}
	return false
}

func fieldsOf(t reflect.Type) map[string]struct{} {
	out := map[string]struct{}{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out[name] = struct{}{}
		}
	}
	return out
}

// members walks over the members of an object: the key, and the whole of `"key":value`. It costs a tenth of decoding, since it is done for every
// name that a view takes in. data must be valid.
func members(data []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, member []byte) bool) {
		depth, start, colon := 0, 0, 0
		for i := 0; i < len(data); i++ {
			switch c := data[i]; c {
			case '"':
				for i++; i < len(data) && data[i] != '"'; i++ {
					if data[i] == '\\' {
						i++
					}
				}
			case '{', '[':
				if depth++; depth == 1 {
					start = i + 1
				}
			case ':':
				if depth == 1 && colon == 0 {
					colon = i
				}
			case ',', '}', ']':
				if depth == 1 && colon > 0 {
					if !yield(memberKey(data[start:colon]), data[start:i]) {
						return
					}
					start, colon = i+1, 0
				}
				if c != ',' {
					depth--
				}
			}
		}
	}
}

// memberKey takes the quotes off a key.
func memberKey(quoted []byte) []byte {
	quoted = bytes.TrimSpace(quoted)
	if bytes.IndexByte(quoted, '\\') < 0 && len(quoted) > 1 {
		return quoted[1 : len(quoted)-1]
	}
	var key string
	if json.Unmarshal(quoted, &key) != nil {
		return nil // it was decoded: it is JSON
	}
	return []byte(key)
}

// rewritten is the record of a name once more: with rec in it, as an attempt of its own; or, where that is nil, as it is. What of it this version
// does not know stays.
func (e *entry) rewritten(rec *Record) nameRecord {
	out := nameRecord{Writer: nuid.Next(), V: recordVersion, later: e.later}
	if rec == nil {
		rec, _ = recordOf(e)
		out.Writer, out.From = e.writer, e.from
	}
	out.Record = *rec
	if e.later != nil {
		out.V = max(out.V, e.later.version)
	}
	return out
}

// MarshalJSON leaves out what a claim cannot know yet, its token and revision, and adds what a later version wrote.
func (r nameRecord) MarshalJSON() ([]byte, error) {
	type plain nameRecord
	data, err := json.Marshal(struct {
		plain
		Token    uint64    `json:"token,omitempty"`
		Revision *struct{} `json:"revision,omitempty"`
	}{plain: plain(r), Token: uint64(r.Token)})
	return r.later.add(data), err
}

// add puts what a later version wrote into an object.
func (l *later) add(data []byte) []byte {
	if l == nil || len(data) == 0 {
		return data
	}
	return append(append(data[:len(data)-1], l.fields...), '}')
}

// MarshalJSON is that of names.
func (r groupRecord) MarshalJSON() ([]byte, error) {
	type plain groupRecord
	data, err := json.Marshal(struct {
		plain
		Token    uint64    `json:"token,omitempty"`
		Revision *struct{} `json:"revision,omitempty"`
	}{plain: plain(r), Token: uint64(r.Token)})
	return r.later.add(data), err
}

// MarshalJSON is that of names, with a place for the token.
func (r waitRecord) MarshalJSON() ([]byte, error) {
	type plain waitRecord
	return json.Marshal(struct {
		plain
		Place    uint64    `json:"place,omitempty"`
		Revision *struct{} `json:"revision,omitempty"`
	}{plain: plain(r), Place: uint64(r.Place)})
}

// MarshalJSON is that of names, with a place for the token.
func (r replicaRecord) MarshalJSON() ([]byte, error) {
	type plain replicaRecord
	return json.Marshal(struct {
		plain
		Place    uint64    `json:"place,omitempty"`
		Revision *struct{} `json:"revision,omitempty"`
	}{plain: plain(r), Place: uint64(r.Place)})
}

// MarshalJSON leaves out the revision, which a write cannot know yet.
func (r propertyRecord) MarshalJSON() ([]byte, error) {
	type plain propertyRecord
	return json.Marshal(struct {
		plain
		Revision *struct{} `json:"revision,omitempty"`
	}{plain: plain(r)})
}
