package hub

import "sort"

// A roster is who is in a room: the viewers in the order of their ids, which is
// the order in which they first joined. It is guarded by the room's lock.
type roster struct {
	viewers int
	last    uint32 // the latest id; ids are never given twice

	entries []entry           // in the order of their ids; some are gone
	names   map[uint32]string // of those who have one
	void    map[uint32]bool   // ids whose tokens no longer count
	kicked  []uint32          // the same, in the order in which they were kicked
}

// An entry is one viewer. It stays for a while when the viewer has gone.
type entry struct {
	session *Session // nil when it has gone
	id      uint32
}

// find returns where an id is or would be.
func (r *roster) find(id uint32) int {
	return sort.Search(len(r.entries), func(i int) bool { return r.entries[i].id >= id })
}

// session returns the viewer with the id, nil if it is not there.
func (r *roster) session(id uint32) *Session {
	if i := r.find(id); i < len(r.entries) && r.entries[i].id == id {
		return r.entries[i].session
	}
	return nil
}

// voided reports whether the id's token no longer counts.
func (r *roster) voided(id uint32) bool { return r.void[id] }

// add enters a viewer, under its old id or, with 0, a new one.
func (r *roster) add(s *Session, id uint32, name string) uint32 {
	r.viewers++
	if id == 0 {
		r.last++
		id = r.last
	}
	i := r.find(id)
	if i == len(r.entries) || r.entries[i].id != id {
		r.entries = append(r.entries, entry{})
		copy(r.entries[i+1:], r.entries[i:])
	}
	r.entries[i] = entry{s, id}
	r.call(id, name)
	return id
}

// replace gives the place of a viewer that is there to a newer connection.
func (r *roster) replace(s *Session, id uint32, name string) {
	r.entries[r.find(id)].session = s
	if name != "" {
		r.call(id, name)
	}
}

// call notes a viewer's name.
func (r *roster) call(id uint32, name string) {
	switch {
	case name != "" && r.names == nil:
		r.names = map[uint32]string{id: name}
	case name != "":
		r.names[id] = name
	default:
		delete(r.names, id)
	}
}

// remove takes out a viewer that is there. Entries are swept out when most of
// them are of viewers that have gone.
func (r *roster) remove(id uint32) {
	r.viewers--
	r.entries[r.find(id)].session = nil
	delete(r.names, id)
	if len(r.entries) > 2*r.viewers+minMembers {
		kept := make([]entry, 0, r.viewers)
		for _, e := range r.entries {
			if e.session != nil {
				kept = append(kept, e)
			}
		}
		r.entries = kept
	}
}

// kick makes the token of an id void.
func (r *roster) kick(id uint32) {
	if r.void == nil {
		r.void = make(map[uint32]bool)
	}
	if !r.void[id] {
		r.void[id] = true
		r.kicked = append(r.kicked, id) // who has a shorter slice of it may go on reading
	}
}

// page calls f for up to limit viewers with ids beyond after.
func (r *roster) page(after uint32, limit int, f func(id uint32, name string)) {
	for i := r.find(after + 1); i < len(r.entries) && limit > 0; i++ {
		if e := r.entries[i]; e.session != nil {
			f(e.id, r.names[e.id])
			limit--
		}
	}
}
