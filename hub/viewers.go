package hub

import "lectern/hub/broadcast"

// This file is about how viewers come and go.

// join adds a viewer to the room, which receives everything that is broadcast
// from now on. A viewer that comes back keeps its id and replaces its older
// connection; with an id of 0 it gets a new id. If the record still has
// everything after the last broadcast that the viewer saw, the viewer continues
// there.
//
// Only the viewer's worker calls join, after want has counted the viewer's
// encoding. If join returns a Refusal, the encoding is no longer counted.
func (r *Room) join(s *Session, e JoinRequest, id uint32) (Joined, *Refusal) {
	r.mu.Lock()
	if f := r.refusalLocked(id); f != nil {
		r.streams.unwant(e.encoding)
		r.mu.Unlock()
		return Joined{}, f
	}
	w, older := r.admitLocked(s, e, id)
	r.mu.Unlock()

	r.audiences.of(s.shard).add(s)
	s.allowLag()
	if older != nil {
		r.tell(older, id, func() { older.replacedBy(s, id) })
	}
	return w, nil
}

// want has the viewer's encoding written from now on. It reports whether the
// Log in that encoding lacks what the viewer has missed while the record has
// it. The Log then has to be backfilled before the viewer joins.
func (r *Room) want(e JoinRequest, id uint32) (needsBackfill bool, f *Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.refusalLocked(id); f != nil {
		return false, f
	}
	r.streams.want(e.encoding)
	return r.needsBackfillLocked(e), nil
}

// refusalLocked returns why a viewer with this id may not join, nil if it may.
// An id of 0 stands for a new viewer.
func (r *Room) refusalLocked(id uint32) *Refusal {
	switch {
	case r.closed:
		return refused(RoomNotFound)
	case r.roster.Voided(id):
		return refused(BadToken)
	case r.roster.Session(id) == nil && r.roster.Viewers()+r.hostSlot.reserved() >= r.options.maxViewers:
		return refused(RoomFull)
	}
	return nil
}

// needsBackfillLocked reports whether the record has what the viewer missed, or
// what followed the cached history that it asks for, while the Log in the
// viewer's encoding does not reach back that far.
func (r *Room) needsBackfillLocked(e JoinRequest) bool {
	if e.encoding == r.streams.encoding() {
		return false
	}
	last, known := r.common(e.Last)
	if !known && e.History {
		last, known = r.history.cachedSeqLocked()
	}
	_, recorded := r.streams.at(last + 1)
	_, there := r.streams.in(e.encoding).At(last + 1)
	return known && recorded && !there
}

// admitLocked adds a viewer to the roster and sets its cursor in the Log of its
// encoding, which counts the viewer already. It also returns the viewer's older
// connection, nil if there is none.
func (r *Room) admitLocked(s *Session, e JoinRequest, id uint32) (w Joined, older *Session) {
	r.pages.changedLocked()
	if older = r.roster.Session(id); older == nil {
		var name string
		id, name = r.roster.Add(s, id, e.Name)
		r.presence.joinedLocked(id, name)
		r.viewerCount.changedLocked()
	} else if r.roster.Replace(s, id, e.Name) {
		r.presence.joinedLocked(id, e.Name) // the host is told the new name
	}
	l := r.streams.in(e.encoding)
	from := l.End()
	common, known := r.common(e.Last)
	if known {
		if c, ok := l.At(common + 1); ok {
			from, w.Recovered = c, common == e.Last.Seq
		}
		w.Common, w.Parted = common, e.Last.Epoch != r.epoch && !w.Recovered
	}
	s.encoding = e.encoding
	r.enterLocked(s, id, from)
	w.Room, w.ID, w.Back = r, id, e.Back || e.Last.Epoch != ""
	w.Seq, w.Viewers, w.Host = s.cursor.Seq(), r.roster.Viewers(), r.hostSlot.current() != nil
	return w, older
}

// enterLocked makes s a viewer whose cursor is at the given place. The stream
// of its encoding counts it already. The caller, which is the session's worker,
// adds s to its audience afterwards.
func (r *Room) enterLocked(s *Session, id uint32, from broadcast.Cursor) {
	// Count the viewer before anything else is published. Otherwise a broadcast
	// in between would find an empty audience and not wake it.
	r.audiences.on(r, s.shard).enters()
	s.cursor = from
	s.room, s.id = r, id
	r.changed()
	s.clear(flagHost | flagParked | flagNewHost)
	s.lagAllowance = false
}

// leave removes a viewer from the room. Frames that the Log still owes it stay
// queued.
func (r *Room) leave(s *Session) {
	a := r.audiences.of(s.shard)
	a.remove(s)
	r.mu.Lock()
	a.exits()
	r.streams.unwant(s.encoding)
	if r.roster.Session(s.id) == s { // unless a newer connection has taken its place
		r.pages.changedLocked()
		r.roster.Remove(s.id)
		r.presence.leftLocked(s.id)
		r.viewerCount.changedLocked()
	}
	r.mu.Unlock()
	s.id = 0
}

// unwant notes that a session no longer waits to read an encoding.
func (r *Room) unwant(e encoding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams.unwant(e)
}
