package registry

import (
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// What was in the feed and is not in the log is believed until the next snapshot, and no longer: whoever may publish on the feed's subject can say anything
// there. What came after the snapshot's revision is left alone.
func TestSnapshotEndsWhatTheLogDoesNotHave(t *testing.T) {
	taken := time.Unix(1, 0)
	for _, tt := range []struct {
		name   string
		forged []kvstore.Entry
		truth  []kvstore.Entry // of the revisions that the forger used
		want   string          // who holds the name in the end
	}{
		{"another holds the name", []kvstore.Entry{putName("calc", "B")}, []kvstore.Entry{put(keyBarrier+".p", nil)}, "A"},
		{"the name's end", []kvstore.Entry{del(nameKey("calc"), ReasonUnregistered)}, []kvstore.Entry{put(keyBarrier+".p", nil)}, "A"},
		{"the session's end", []kvstore.Entry{del(leaseKey("A"), ReasonSilent)}, []kvstore.Entry{put(keyBarrier+".p", nil)}, "A"},
		{"in place of what was written of that very name", []kvstore.Entry{putName("calc", "B")}, []kvstore.Entry{putName("calc", "C")}, "C"},
		{"a name that nobody has", []kvstore.Entry{putName("other", "B")}, []kvstore.Entry{put(keyBarrier+".p", nil)}, "A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, v := newLogbook("log"), newView()
			v.apply(l.append(putLease("A"), putLease("B"), putLease("C"), putName("calc", "A")))
			step := kvstore.Step{Entries: tt.forged, Revision: l.last + 1, Log: "log"}
			step.Entries[0].Revision, step.Entries[0].Time = l.last+1, taken
			v.apply(step)
			l.append(tt.truth...)
			after := l.append(putName("later", "A"))
			v.apply(after)
			whole := l.snapshot()
			v.apply(l.append(putName("newest", "A"))) // the snapshot is overtaken
			v.apply(whole)
			if rec, err := v.whereis("calc"); err != nil || rec.Session != tt.want {
				t.Errorf("calc is held by %+v, %v, want %s", rec, err, tt.want)
			}
			if names := v.listNames(); len(names) != 3 {
				t.Errorf("names %v", names)
			}
			if _, ok := v.lease("A"); !ok {
				t.Error("a session that lives is gone")
			}
		})
	}
}
