package registry_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// What a later version said of a member stays when this one updates it, and the member keeps its place.
func TestMemberUpdateKeepsWhatItDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, reg := t.Context(), openMemory(t)
		m, err := newSession(t, reg).Join(ctx, "tools", &registry.JoinOptions{Instance: "i", Metadata: map[string]string{"load": "1", "zone": "a"}})
		if err != nil {
			t.Fatal(err)
		}
		e, err := storeOf[reg].Get(ctx, "groups.tools.i")
		if err != nil {
			t.Fatal(err)
		}
		later := append(e.Value[:len(e.Value)-1:len(e.Value)-1], `,"later":{"x":[1,2]}}`...)
		if _, err := storeOf[reg].Update(ctx, "groups.tools.i", later, e.Revision, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := m.Update(ctx, func(metadata map[string]string) { metadata["load"] = "2" }); err != nil {
			t.Fatal(err)
		}
		e, err = storeOf[reg].Get(ctx, "groups.tools.i")
		var got struct {
			Metadata map[string]string
			Token    kvstore.Revision
			Later    json.RawMessage
		}
		if err == nil {
			err = json.Unmarshal(e.Value, &got)
		}
		if err != nil || got.Metadata["load"] != "2" || got.Metadata["zone"] != "a" || string(got.Later) != `{"x":[1,2]}` || got.Token != m.Member().Token {
			t.Errorf("after the update: %s, %v", e.Value, err)
		}
	})
}
