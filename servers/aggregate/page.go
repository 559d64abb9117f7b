package aggregate

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/toolbus/toolbus/servers/wire"
)

// A page of a list ends at the first of these.
const (
	pageItems = 1000
	pageBytes = 4 << 20
)

// page makes one page of a list: what comes after the cursor. A cursor is the last name that was shown, so it is good at every replica of an endpoint and goes on
// at the right place when the list has changed.
func (t *table) page(k kind, cursor string, items int) (list json.RawMessage, next string, refusal *wire.Error) {
	all := t.lists[k]
	if cursor != "" {
		after, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			return nil, "", &wire.Error{Code: codeInvalidParams, Message: "the cursor is none of this list's"}
		}
		from, found := slices.BinarySearchFunc(all, string(after), func(e *entry, s string) int { return strings.Compare(e.exposed, s) })
		if found {
			from++
		}
		all = all[from:]
	}
	list = append(list, '[')
	for i, e := range all {
		if i == items || i > 0 && len(list)+len(e.raw) > pageBytes {
			next = base64.RawURLEncoding.EncodeToString([]byte(all[i-1].exposed))
			break
		}
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, e.raw...)
	}
	return append(list, ']'), next, nil
}

// listed is the result of a request for a list.
func listed(k kind, list json.RawMessage, next string, modern bool) json.RawMessage {
	out := append(json.RawMessage(nil), `{"`+kindInfos[k].member+`":`...)
	out = append(out, list...)
	if next != "" {
		out = append(out, `,"nextCursor":"`+next+`"`...)
	}
	if modern {
		out = append(out, `,`+modernResult...)
	}
	return append(out, '}')
}

// response is the answer to a request.
func response(id, result json.RawMessage) json.RawMessage {
	return slices.Concat(json.RawMessage(`{"jsonrpc":"2.0","id":`), id, json.RawMessage(`,"result":`), result, json.RawMessage(`}`))
}
