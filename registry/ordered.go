package registry

import (
	"iter"
	"slices"
)

// ordered is a sorted set of texts, in chunks: a change moves no more than one chunk, and a range is found by two binary searches. Texts
// that come in order are only appended. It is not for concurrent use.
type ordered struct {
	compare func(a, b string) int
	chunks  [][]string // none is empty
	n       int
}

// maxChunk is the most texts of one chunk: 8 KiB that an insertion may have to move.
const maxChunk = 512

// len is how many texts are in the set; a nil set has none.
func (o *ordered) len() int {
	if o == nil {
		return 0
	}
	return o.n
}

// find says where s is, or would be.
func (o *ordered) find(s string) (chunk, at int, found bool) {
	chunk, _ = slices.BinarySearchFunc(o.chunks, s, func(c []string, s string) int { return o.compare(c[len(c)-1], s) })
	if chunk == len(o.chunks) {
		return chunk, 0, false
	}
	at, found = slices.BinarySearchFunc(o.chunks[chunk], s, o.compare)
	return chunk, at, found
}

// add puts s into the set; false if it was there.
func (o *ordered) add(s string) bool {
	chunk, at, found := o.find(s)
	if found {
		return false
	}
	o.n++
	if chunk == len(o.chunks) { // after the last
		if chunk == 0 || len(o.chunks[chunk-1]) >= maxChunk {
			o.chunks = append(o.chunks, []string{s})
			return true
		}
		o.chunks[chunk-1] = append(o.chunks[chunk-1], s)
		return true
	}
	c := slices.Insert(o.chunks[chunk], at, s)
	o.chunks[chunk] = c
	if len(c) > maxChunk {
		half := len(c) / 2
		o.chunks = slices.Insert(o.chunks, chunk+1, slices.Clone(c[half:]))
		clear(c[half:])
		o.chunks[chunk] = c[:half]
	}
	return true
}

// remove takes s out of the set; false if it was not there.
func (o *ordered) remove(s string) bool {
	chunk, at, found := o.find(s)
	if !found {
		return false
	}
	o.n--
	c := slices.Delete(o.chunks[chunk], at, at+1)
	o.chunks[chunk] = c
	o.merge(chunk)
	o.merge(chunk - 1)
	return true
}

// merge joins a chunk with the next where both are small, so that few texts are never in many chunks.
func (o *ordered) merge(chunk int) {
	switch {
	case chunk < 0 || chunk >= len(o.chunks):
	case len(o.chunks[chunk]) == 0:
		o.chunks = slices.Delete(o.chunks, chunk, chunk+1)
	case chunk+1 < len(o.chunks) && len(o.chunks[chunk])+len(o.chunks[chunk+1]) <= maxChunk/2:
		o.chunks[chunk] = append(o.chunks[chunk], o.chunks[chunk+1]...)
		o.chunks = slices.Delete(o.chunks, chunk+1, chunk+2)
	}
}

// rank is how many texts come before s.
func (o *ordered) rank(s string) int {
	if o == nil {
		return 0
	}
	chunk, at, _ := o.find(s)
	for _, c := range o.chunks[:chunk] {
		at += len(c)
	}
	return at
}

// from yields the texts from s on, s itself included.
func (o *ordered) from(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for c := o.cursor(s); c.more(); c.next() {
			if !yield(c.text()) {
				return
			}
		}
	}
}

// cursor is a place in a set that does not change meanwhile.
type cursor struct {
	chunks [][]string
	at     int // in the first of them
}

// cursor stands at s, or where it would be. That of a nil set is at its end.
func (o *ordered) cursor(s string) cursor {
	if o == nil {
		return cursor{}
	}
	chunk, at, _ := o.find(s)
	return cursor{o.chunks[chunk:], at}
}

func (c *cursor) more() bool   { return len(c.chunks) > 0 }
func (c *cursor) text() string { return c.chunks[0][c.at] }

func (c *cursor) next() {
	if c.at++; c.at == len(c.chunks[0]) {
		c.chunks, c.at = c.chunks[1:], 0
	}
}

// union yields the texts of several sets, which have none in common, in order, from s on: the cursors are a heap with the least text first.
func union(sets []*ordered, s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var heap []cursor
		for _, o := range sets {
			if c := o.cursor(s); c.more() {
				heap = append(heap, c)
			}
		}
		sift := func(i int) {
			for {
				least := i
				for child := 2*i + 1; child <= 2*i+2 && child < len(heap); child++ {
					if heap[child].text() < heap[least].text() {
						least = child
					}
				}
				if least == i {
					return
				}
				heap[i], heap[least] = heap[least], heap[i]
				i = least
			}
		}
		for i := len(heap)/2 - 1; i >= 0; i-- {
			sift(i)
		}
		for len(heap) > 0 {
			if !yield(heap[0].text()) {
				return
			}
			if heap[0].next(); !heap[0].more() {
				heap[0] = heap[len(heap)-1]
				heap = heap[:len(heap)-1]
			}
			sift(0)
		}
	}
}

// compareEndings orders texts by their bytes read from the end, so that those with one ending stand together.
func compareEndings(a, b string) int {
	i, j := len(a)-1, len(b)-1
	for i >= 0 && j >= 0 {
		if a[i] != b[j] {
			return int(a[i]) - int(b[j])
		}
		i, j = i-1, j-1
	}
	return i - j
}
