//go:build linux

package faults

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const maxMarks = 16 << 10

// Marks are two times for each thing that a process holds: the first and the last at which it served. They are in a file that is mapped into memory, which is
// there also when the process was killed.
type Marks struct {
	data []byte
	used atomic.Int64
}

// OpenMarks makes the marks of a process in a run's folder.
func OpenMarks(dir, id string) (*Marks, error) {
	f, err := os.OpenFile(filepath.Join(dir, id+".marks"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(maxMarks * 16); err != nil {
		return nil, err
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, maxMarks*16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return &Marks{data: data}, err
}

// Take returns a free place, from 1 on.
func (m *Marks) Take() (int, error) {
	slot := int(m.used.Add(1))
	if slot >= maxMarks {
		return 0, fmt.Errorf("more than %d holdings", maxMarks)
	}
	return slot, nil
}

// Served says that at some moment between two times the owner was told that he may serve.
func (m *Marks) Served(slot int, before, after int64) {
	first, last := m.at(slot, 0), m.at(slot, 1)
	atomic.CompareAndSwapInt64(first, 0, after)
	atomic.StoreInt64(last, before)
}

func (m *Marks) at(slot, k int) *int64 { return (*int64)(unsafe.Pointer(&m.data[slot*16+k*8])) }

// Close unmaps the file.
func (m *Marks) Close() error { return syscall.Munmap(m.data) }

// ReadMarks reads the marks of a process: for each slot the first and the last time, 0 where there is none.
func ReadMarks(dir, id string) ([][2]int64, error) {
	data, err := os.ReadFile(filepath.Join(dir, id+".marks"))
	if err != nil {
		return nil, err
	}
	out := make([][2]int64, len(data)/16)
	for i := range out {
		out[i] = [2]int64{int64(binary.NativeEndian.Uint64(data[i*16:])), int64(binary.NativeEndian.Uint64(data[i*16+8:]))}
	}
	return out, nil
}
