package registry

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Who loses a race for a name decides anew at once where the view shows the winner by then; only a second refusal like that makes it wait.
func TestVirtualRefusalExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Open(t.Context(), kvstore.NewMemory(nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close(t.Context())
		s, err := r.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Register(t.Context(), "calc", nil); err != nil {
			t.Fatal(err)
		}
		refused := &kvstore.ConflictError{Key: "names.calc", Actual: r.Revision()}
		var wait backoff
		took := func() time.Duration {
			began := time.Now()
			if !r.settle(t.Context(), refused, &wait) {
				t.Fatal("not tried again")
			}
			return time.Since(began)
		}
		if d := took(); d != 0 {
			t.Errorf("the first refusal, which the view explains, waited for %v", d)
		}
		if d := took(); d == 0 {
			t.Error("the second one did not wait: a claim that is refused for ever would spin")
		}
	})
}
