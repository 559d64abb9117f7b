package registry

import (
	"context"
	"fmt"
	"testing"
)

// An owner that takes the place of another in one step is told as one change, however fast the steps come.
func TestFollowTellsAStepAsOne(t *testing.T) {
	l, v := newLogbook("log"), newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A"), putLease("B")))
	v.apply(l.append(putName("calc", "A")))
	r := &Registry{view: v, synced: make(chan struct{}), done: make(chan struct{})}
	close(r.synced)
	const steps = 3000
	began := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan string, 1)
	go func() {
		told := ""
		for s, err := range r.Follow(ctx, "calc") {
			switch {
			case err != nil:
				told = err.Error()
			case s.Before.Name == "":
				close(began)
			case !s.Held || s.Owner.Session == s.Before.Session && !s.Collapsed || s.Reason == "":
				told = fmt.Sprintf("%+v", s)
			}
			if told != "" || s.Owner.Kind == "last" {
				break
			}
		}
		done <- told
	}()
	<-began
	for i := range steps {
		rec := Record{Name: "calc", Session: string("BA"[i%2]), Instance: "i"}
		if i == steps-1 {
			rec.Kind = "last"
		}
		if i%7 == 0 { // it changes what it says, which is no change of owner
			found, _ := v.whereis("calc")
			now := *found
			now.Kind = fmt.Sprint(i)
			v.apply(l.append(put(nameKey("calc"), encode(nameRecord{Record: now, V: recordVersion}))))
		}
		v.apply(l.append(put(nameKey("calc"), encode(nameRecord{Record: rec, V: recordVersion}))))
	}
	if told := <-done; told != "" {
		t.Error(told)
	}
}
