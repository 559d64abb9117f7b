//go:build unix

package bridge

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestIDFinder(t *testing.T) {
	for msg, want := range map[string]string{
		`{"jsonrpc":"2.0","id":5,"result":{"id":6}}`:              "5",
		` { "result" : {"a":"}\"id\":1","id":[1]} , "id" : 12 } `: "12",
		`{"result":"\\","id":"a,\"}b"}`:                           `"a,\"}b"`,
		`{"error":{"code":1,"id":2},"id":9007199254740993}`:       "9007199254740993",
		`{"id":1,"method":"sampling/createMessage"}`:              "",
		`{"result":{"id":1}}`:                                     "",
		`[{"id":1,"result":{}}]`:                                  "",
		`{"id":1,"result":{`:                                      "",
		`{"id":` + strings.Repeat("1", 300) + `,"result":{}}`:     "",
		`{"id":,"result":1}`:                                      "",
		`xxxxxxxxxxxxxxxxxxxxxxxxxxx`:                             "",
		`{"result":"id","x":"id\":3","id":null}`:                  "null",
	} {
		for _, step := range []int{1, 7, len(msg)} { // in pieces, as it comes
			f := &idFinder{}
			for rest := msg; rest != ""; rest = rest[min(step, len(rest)):] {
				f.feed([]byte(rest[:min(step, len(rest))]))
			}
			var got struct{ ID json.RawMessage }
			if answer := f.answer(len(msg), 1); answer != nil {
				if err := json.Unmarshal(answer, &got); err != nil {
					t.Fatalf("%s: %v", answer, err)
				}
				if want == "null" && got.ID == nil {
					got.ID = json.RawMessage("null")
				}
			}
			if string(got.ID) != want {
				t.Errorf("%s: id %q, want %q", msg, got.ID, want)
			}
		}
	}
}

// An answer that is too long is an error for who asked, and the next one is as good as ever.
func TestOversizeAnswerIsAnError(t *testing.T) {
	c := start(t, &ChildOptions{MaxFrame: 200_000}, "cat")
	// Written past the limit of Write, as the server itself would.
	long := `{"jsonrpc":"2.0","result":"` + strings.Repeat("x", 300_000) + `","id":77}` + "\n"
	go func() {
		if _, err := c.p.stdin.WriteString(long + message(1) + "\n"); err != nil {
			t.Error(err)
		}
	}()
	if got := read(t, c); !strings.Contains(got, `"id":77`) || !strings.Contains(got, `"code":1004`) {
		t.Errorf("read %.300s", got)
	}
	if got := read(t, c); got != message(1) {
		t.Errorf("read %.300s", got)
	}
}
