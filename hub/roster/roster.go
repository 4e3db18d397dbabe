// Package roster lists the viewers of a room, and remembers the names of those
// that left and the ids whose tokens are void.
package roster

import (
	"slices"
	"sort"
	"sync/atomic"
)

// A Roster is the viewers in a room, in the order of their ids, which is the
// order in which they first joined. S is a viewer's session; its zero value
// stands for none. A Roster is not safe for concurrent use: the room's lock
// guards it, so no operation may take longer than some tens of microseconds,
// however many viewers there are and in whatever order they come and go.
type Roster[S comparable] struct {
	viewers int
	last    uint32 // the latest id; an id is never given to a second viewer

	chunks [][]entry[S]      // each sorted by id and not empty, and in order
	names  map[uint32]string // names of the viewers that have one
	left   leftNames         // names of viewers that have left, in case they come back
	void   idRanges          // ids whose tokens are void
}

// An entry is one viewer.
type entry[S comparable] struct {
	session S
	id      uint32
}

// New returns an empty Roster. total counts the bytes of the names of viewers
// that have left, in all rooms.
func New[S comparable](total *atomic.Int64) Roster[S] {
	return Roster[S]{left: leftNames{total: total}}
}

// Viewers returns the number of viewers.
func (r *Roster[S]) Viewers() int { return r.viewers }

// LastID returns the latest id, 0 if no viewer ever joined.
func (r *Roster[S]) LastID() uint32 { return r.last }

// Void returns the ranges of ids whose tokens are void, from and to. They do not
// change afterwards.
func (r *Roster[S]) Void() [][2]uint32 { return r.void }

// Restore sets what a room had before the relay was restarted: the latest id and
// the void ids, as ranges and single ones in any order.
func (r *Roster[S]) Restore(last uint32, ranges [][2]uint32, ids []uint32) {
	r.last, r.void = last, rangesOf(ranges, ids)
}

// Close forgets the names of viewers that have left: nobody comes back.
func (r *Roster[S]) Close() { r.left.forget() }

// maxChunk is the largest number of entries in a chunk, and so the most that an
// insertion moves. A chunk that has shrunk to a quarter of it is merged with a
// neighbour if together they have at most half of it.
const maxChunk = 512

// find returns the chunk in which an id is or would be inserted, and its index
// there.
func (r *Roster[S]) find(id uint32) (chunk, at int) {
	chunk = sort.Search(len(r.chunks), func(i int) bool {
		c := r.chunks[i]
		return c[len(c)-1].id >= id
	})
	if chunk == len(r.chunks) {
		return chunk, 0
	}
	c := r.chunks[chunk]
	return chunk, sort.Search(len(c), func(i int) bool { return c[i].id >= id })
}

// entry returns a viewer's entry, nil if the viewer is not there.
func (r *Roster[S]) entry(id uint32) *entry[S] {
	chunk, at := r.find(id)
	if chunk == len(r.chunks) || r.chunks[chunk][at].id != id {
		return nil
	}
	return &r.chunks[chunk][at]
}

// Session returns the session of a viewer, the zero value if the viewer is not
// there.
func (r *Roster[S]) Session(id uint32) (s S) {
	if e := r.entry(id); e != nil {
		return e.session
	}
	return s
}

// Voided reports whether the id's token is void.
func (r *Roster[S]) Voided(id uint32) bool { return r.void.has(id) }

// Kick makes an id's token void.
func (r *Roster[S]) Kick(id uint32) { r.void = r.void.with(id) }

// Add adds a viewer under its old id, or with id 0 under a new one. It returns
// the id and the viewer's name. A viewer that comes back without a name keeps
// the one that it had.
func (r *Roster[S]) Add(s S, id uint32, name string) (as uint32, called string) {
	r.viewers++
	if id == 0 {
		r.last++
		id = r.last
	} else if had := r.left.take(id); name == "" {
		name = had
	}
	r.insert(entry[S]{s, id})
	if name != "" {
		r.call(id, name)
	}
	return id, name
}

// insert adds an entry at its place in the order.
func (r *Roster[S]) insert(e entry[S]) {
	chunk, at := r.find(e.id)
	if chunk == len(r.chunks) { // larger than all ids: append to the last chunk if it has room
		if chunk == 0 || len(r.chunks[chunk-1]) == maxChunk {
			r.chunks = append(r.chunks, []entry[S]{e})
			return
		}
		chunk--
		at = len(r.chunks[chunk])
	}
	c := r.chunks[chunk]
	if len(c) == maxChunk {
		upper := slices.Clone(c[maxChunk/2:])
		r.chunks = slices.Insert(r.chunks, chunk+1, upper)
		r.chunks[chunk] = slices.Delete(c, maxChunk/2, maxChunk)
		if at > maxChunk/2 {
			chunk, at = chunk+1, at-maxChunk/2
		}
		c = r.chunks[chunk]
	}
	if len(c) == cap(c) {
		c = append(make([]entry[S], 0, min(2*len(c), maxChunk)), c...)
	}
	r.chunks[chunk] = slices.Insert(c, at, e)
}

// Replace gives the place of a viewer to a newer connection. It reports whether
// that changes the viewer's name.
func (r *Roster[S]) Replace(s S, id uint32, name string) (renamed bool) {
	r.entry(id).session = s
	if name == "" || r.names[id] == name {
		return false
	}
	r.call(id, name)
	return true
}

// call records a viewer's name.
func (r *Roster[S]) call(id uint32, name string) {
	if r.names == nil {
		r.names = make(map[uint32]string)
	}
	r.names[id] = name
}

// Remove removes a viewer. Its name is kept for its return unless its token is
// void.
func (r *Roster[S]) Remove(id uint32) {
	r.viewers--
	if name, ok := r.names[id]; ok {
		delete(r.names, id)
		if len(r.names) == 0 {
			r.names = nil // a map never shrinks
		}
		if !r.Voided(id) {
			r.left.put(id, name)
		}
	}
	chunk, at := r.find(id)
	c := slices.Delete(r.chunks[chunk], at, at+1)
	r.chunks[chunk] = c
	switch {
	case len(c) == 0:
		r.chunks = tight(slices.Delete(r.chunks, chunk, chunk+1))
	case len(c) > maxChunk/4:
	case chunk+1 < len(r.chunks) && len(c)+len(r.chunks[chunk+1]) <= maxChunk/2:
		r.join(chunk)
	case chunk > 0 && len(c)+len(r.chunks[chunk-1]) <= maxChunk/2:
		r.join(chunk - 1)
	default:
		r.chunks[chunk] = tight(c)
	}
}

// join merges a chunk with the one after it.
func (r *Roster[S]) join(chunk int) {
	r.chunks[chunk] = slices.Concat(r.chunks[chunk], r.chunks[chunk+1])
	r.chunks = tight(slices.Delete(r.chunks, chunk+1, chunk+2))
}

// tight returns a slice with a smaller capacity if less than a quarter of it is
// used.
func tight[S ~[]E, E any](s S) S {
	if cap(s) <= 4*len(s) || cap(s) <= 8 {
		return s
	}
	return append(make(S, 0, 2*len(s)), s...)
}

// Page calls f for up to limit viewers with ids beyond after.
func (r *Roster[S]) Page(after uint32, limit int, f func(id uint32, name string)) {
	for chunk, at := r.find(after + 1); chunk < len(r.chunks); chunk, at = chunk+1, 0 {
		for _, e := range r.chunks[chunk][at:] {
			if limit == 0 {
				return
			}
			f(e.id, r.names[e.id])
			limit--
		}
	}
}
