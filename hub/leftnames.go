package hub

import (
	"slices"
	"sync/atomic"
)

const (
	// maxLeftNames is how many names of viewers that have gone a room keeps for
	// their return. The one that has been gone for longest is forgotten first.
	maxLeftNames = 1000
	// maxLeftBytes is how many bytes those of all rooms have together. While they
	// do, a room that keeps one more forgets its oldest for it.
	maxLeftBytes = 16 << 20
	// leftOverhead is what a name needs beside its text.
	leftOverhead = 24
)

// leftNames are the names of viewers that have gone, in the order in which they
// went. It takes a microsecond to look through them.
type leftNames struct {
	names []Person
	total *atomic.Int64 // bytes of all rooms' names
	shut  bool          // nobody comes back any more
}

// put notes a name.
func (l *leftNames) put(id uint32, name string) {
	if l.shut {
		return
	}
	n := int64(len(name) + leftOverhead)
	for len(l.names) > 0 && (len(l.names) >= maxLeftNames || l.total.Load()+n > maxLeftBytes) {
		l.drop(0)
	}
	if l.total.Add(n) > maxLeftBytes {
		l.total.Add(-n)
		return
	}
	l.names = append(l.names, Person{id, name})
}

// take returns the name of a viewer that comes back, empty if there is none, and
// forgets it.
func (l *leftNames) take(id uint32) (name string) {
	i := slices.IndexFunc(l.names, func(p Person) bool { return p.ID == id })
	if i < 0 {
		return ""
	}
	name = l.names[i].Name
	l.drop(i)
	return name
}

func (l *leftNames) drop(i int) {
	l.total.Add(-int64(len(l.names[i].Name) + leftOverhead))
	if l.names = slices.Delete(l.names, i, i+1); len(l.names) == 0 {
		l.names = nil
	}
}

// forget gives up all of them, for good.
func (l *leftNames) forget() {
	for _, p := range l.names {
		l.total.Add(-int64(len(p.Name) + leftOverhead))
	}
	l.names, l.shut = nil, true
}
