package bench

import (
	"testing"
	"time"
)

func TestDistribute(t *testing.T) {
	if d := Distribute(nil); d != (Distribution{}) {
		t.Errorf("nothing looks like %+v", d)
	}
	var samples []time.Duration
	for i := range 1000 {
		samples = append(samples, time.Duration(1000-i)) // 1000 to 1, not in order
	}
	want := Distribution{Count: 1000, P50: 500, P99: 990, P999: 999, Max: 1000}
	if got := Distribute(samples); got != want {
		t.Errorf("got %+v, not %+v", got, want)
	}
	if got := Distribute([]time.Duration{7}); got != (Distribution{1, 7, 7, 7, 7}) {
		t.Errorf("one sample: %+v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, not %v", c.values, got, c.want)
		}
	}
}

func TestPause(t *testing.T) {
	for _, c := range []struct {
		name   string
		ats    []int64
		killed int64
		want   time.Duration
		fails  bool
	}{
		{"a pause after the kill", []int64{10, 20, 30, 90, 95}, 35, 55, false},
		{"a pause before the kill does not count", []int64{10, 80, 90, 100}, 85, 10, false},
		{"nothing before", []int64{50, 60}, 40, 0, true},
		{"nothing after", []int64{10, 20}, 40, 0, true},
		{"nothing", nil, 40, 0, true},
	} {
		got, err := Pause(c.ats, c.killed)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}
