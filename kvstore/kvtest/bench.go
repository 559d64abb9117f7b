package kvtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Bench runs the store's benchmarks. open makes an empty store, again opens its log a second time.
func Bench(b *testing.B, open func(b *testing.B) kvstore.Store, again func(b *testing.B, s kvstore.Store) kvstore.Store) {
	b.Run("create", func(b *testing.B) {
		s := open(b)
		i := 0
		measure(b, func() error {
			i++
			_, err := s.Create(b.Context(), fmt.Sprintf("names.%d", i), record, 0)
			return err
		})
	})
	b.Run("update", func(b *testing.B) {
		s := open(b)
		rev, err := s.Create(b.Context(), "k", record, 0)
		if err != nil {
			b.Fatal(err)
		}
		measure(b, func() (err error) {
			rev, err = s.Update(b.Context(), "k", record, rev, time.Hour)
			return err
		})
	})
	for _, n := range []int{3, 100} {
		b.Run(fmt.Sprintf("batch of %d", n), func(b *testing.B) {
			s := open(b)
			i := 0
			measure(b, func() error {
				ops := make([]kvstore.Op, n)
				for j := range ops {
					i++
					ops[j] = kvstore.Op{Key: fmt.Sprintf("names.%d", i), Value: record}
				}
				_, err := s.Batch(b.Context(), ops)
				return err
			})
		})
	}
	b.Run("barrier", func(b *testing.B) {
		s := open(b)
		measure(b, func() error {
			_, err := s.Barrier(b.Context())
			return err
		})
	})
	b.Run("create seen by a watch", func(b *testing.B) {
		s := open(b)
		if _, err := s.Barrier(b.Context()); err != nil {
			b.Fatal(err)
		}
		seen := make(chan kvstore.Revision, 1024)
		ready := make(chan struct{})
		go func() {
			defer close(seen)
			for step, err := range again(b, s).Watch(b.Context(), nil) {
				if err != nil {
					b.Error(err)
					return
				}
				if step.Kind == kvstore.Snapshot {
					close(ready)
					continue
				}
				seen <- step.Revision
			}
		}()
		<-ready
		i := 0
		measure(b, func() error {
			i++
			rev, err := s.Create(b.Context(), fmt.Sprintf("names.%d", i), record, 0)
			for err == nil && <-seen < rev {
			}
			return err
		})
	})
	b.Run("snapshot of 10000", func(b *testing.B) {
		s := open(b)
		for i := range 10 {
			ops := make([]kvstore.Op, kvstore.MaxBatch)
			for j := range ops {
				ops[j] = kvstore.Op{Key: fmt.Sprintf("names.%d.%d", i, j), Value: record}
			}
			if _, err := s.Batch(b.Context(), ops); err != nil {
				b.Fatal(err)
			}
		}
		measure(b, func() error {
			for step, err := range again(b, s).Watch(b.Context(), nil) {
				if err == nil && len(step.Entries) != 10*kvstore.MaxBatch {
					err = fmt.Errorf("%d entries", len(step.Entries))
				}
				return err
			}
			return nil
		})
	})
}

// record is about as large as a registration.
var record = fmt.Appendf(nil, `{"v":1,"name":"calc","node":"alpha","session":"%022d","instance":"%022d","kind":"mcp","metadata":{"version":"1.2.3"}}`, 1, 2)

// measure runs f b.N times and reports the median and the 99th percentile beside the mean.
func measure(b *testing.B, f func() error) {
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
