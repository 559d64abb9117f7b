package registry

import (
	"testing"
	"time"
)

// lateLine is a view's side of pulses: it gets each so long after it was written.
type lateLine struct {
	t      *testing.T
	r      Registry
	rate   float64       // of the reader's clock
	keeper time.Duration // what the keeper's clock shows at time 0
}

const linePulse = time.Second

// at is what the reader's clock shows.
func (l *lateLine) at(d time.Duration) moment {
	run := time.Duration(float64(d) * l.rate)
	return moment{boot: 300*time.Hour + run, wall: time.Unix(0, 0).Add(run)}
}

// comes gives the view a pulse and checks that it does not take itself for younger than it is.
func (l *lateLine) comes(keeper string, written, late time.Duration) {
	l.t.Helper()
	now := l.at(written + late)
	l.r.age(&pulse{Keeper: keeper, Boot: l.keeper + written}, now, moment{}, true)
	if age := now.boot - l.r.writtenAt.boot; age < time.Duration(float64(late)*l.rate*0.9) {
		l.t.Errorf("the pulse of %v came %v late, and the view takes itself for %v old", written, late, age)
	}
}

// A reader who answers no pulse knows how old his view is also while pulses are held up and come all at once, and when the keeper changes meanwhile.
func TestAgeOfReader(t *testing.T) {
	for _, rate := range []float64{1, 0.97, 1.03} {
		l := &lateLine{t: t, rate: rate, keeper: time.Hour}
		l.r.timing.pulse = linePulse
		for i := range 20 {
			l.comes("a", time.Duration(i)*linePulse, time.Duration(i%5)*40*time.Millisecond)
		}
		if age := l.at(19*linePulse+160*time.Millisecond).boot - l.r.writtenAt.boot; age > 3*linePulse {
			t.Errorf("with pulses that come at once the view takes itself for %v old", age)
		}
		const back = 40 * time.Second // all that was held up comes now
		for i := 20; i < 30; i++ {
			l.comes("a", time.Duration(i)*linePulse, back-time.Duration(i)*linePulse)
		}
		l.keeper = 5 * time.Hour
		for i := 30; i < 40; i++ {
			l.comes("b", time.Duration(i)*linePulse, back-time.Duration(i)*linePulse)
		}
		for i := 40; i < 700; i++ {
			l.comes("b", time.Duration(i)*linePulse, 30*time.Millisecond)
		}
		if age := l.at(699*linePulse+30*time.Millisecond).boot - l.r.writtenAt.boot; age > 3*linePulse {
			t.Errorf("long after the keeper has changed the view takes itself for %v old", age)
		}
	}
}

// Who answers pulses counts from his answer, and from nothing else.
func TestAgeOfOwner(t *testing.T) {
	l := &lateLine{t: t, rate: 1}
	l.r.timing.pulse = linePulse
	l.r.age(&pulse{Keeper: "a", Boot: 1}, l.at(10*time.Second), l.at(8*time.Second), false)
	l.r.age(&pulse{Keeper: "a", Boot: 2}, l.at(20*time.Second), moment{}, false)
	if l.r.writtenAt != l.at(8*time.Second) {
		t.Errorf("a pulse that counts no answer made the view younger")
	}
	l.r.age(&pulse{Keeper: "a", Boot: 3}, l.at(30*time.Second), l.at(7*time.Second), false)
	if l.r.writtenAt != l.at(8*time.Second) {
		t.Errorf("a pulse that counts an older answer changed the age")
	}
}
