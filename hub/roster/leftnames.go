package roster

import (
	"slices"
	"sync/atomic"
)

const (
	// maxLeftNames is how many names of viewers that have left a room keeps in
	// case they come back. Beyond it the oldest name is dropped.
	maxLeftNames = 1000
	// maxLeftBytes bounds the bytes of these names in all rooms. While it is
	// reached, a room drops its oldest names to keep a new one.
	maxLeftBytes = 16 << 20
	// leftOverhead is the size of an entry without its text.
	leftOverhead = 24
)

// leftNames are the names of viewers that have left, in the order in which they
// left. A search takes about a microsecond.
type leftNames struct {
	names []leftName
	total *atomic.Int64 // bytes of all rooms' names; shared by them
	shut  bool          // the room is closed; nobody comes back
}

type leftName struct {
	id   uint32
	name string
}

// put keeps a name.
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
	l.names = append(l.names, leftName{id, name})
}

// take removes and returns the name of a viewer that comes back, empty if there
// is none.
func (l *leftNames) take(id uint32) (name string) {
	i := slices.IndexFunc(l.names, func(p leftName) bool { return p.id == id })
	if i < 0 {
		return ""
	}
	name = l.names[i].name
	l.drop(i)
	return name
}

func (l *leftNames) drop(i int) {
	l.total.Add(-int64(len(l.names[i].name) + leftOverhead))
	if l.names = slices.Delete(l.names, i, i+1); len(l.names) == 0 {
		l.names = nil
	}
}

// forget drops all names and keeps none from now on.
func (l *leftNames) forget() {
	for _, p := range l.names {
		l.total.Add(-int64(len(p.name) + leftOverhead))
	}
	l.names, l.shut = nil, true
}
