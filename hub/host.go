package hub

import (
	"time"

	"lectern/hub/credentials"
)

// This file is about how hosts come, go and change.

// waitSteps is the number of steps in which a room waits for its host, and
// minWaitStep the shortest of them.
const (
	waitSteps   = 10
	minWaitStep = time.Second
)

// waitLocked closes the room if no host comes within limit. It waits in steps
// so that time in which the process was stopped, and nobody could come, counts
// as one step at most.
func (r *Room) waitLocked(limit time.Duration, why Reason) {
	step := max(limit/waitSteps, minWaitStep)
	left := limit - min(step, limit)
	var timer *time.Timer
	timer = time.AfterFunc(min(step, limit), func() {
		r.mu.Lock()
		// The host may have come, or come and gone again, just as the timer
		// fired.
		if r.closed || !r.hostSlot.awaited(timer) || r.stays() {
			r.mu.Unlock()
			return
		}
		if left > 0 {
			timer.Reset(min(step, left))
			left -= min(step, left)
			r.mu.Unlock()
			return
		}
		r.closeLocked()
		r.mu.Unlock()
		r.dismiss(nil, why)
	})
	r.hostSlot.await(timer)
}

// A resumption is what a host is told when it has come back.
type resumption struct {
	seq  uint64
	sent uint64
}

// resume makes s the host if its token proves it. From then on nothing is
// accepted from the older host. The new host's worker calls it; s is in no
// room.
func (r *Room) resume(s *Session, token string) (resumption, *Refusal) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return resumption{}, refused(RoomNotFound)
	}
	if !r.hostSlot.proves(token) {
		r.mu.Unlock()
		return resumption{}, refused(BadToken)
	}
	r.hostSlot.choose(token)
	older := r.hostSlot.current()
	r.setHostLocked(s)
	if older == nil {
		r.streams.notice(HostBack{})
	}
	end := r.streams.end()
	back := resumption{seq: end.Seq(), sent: r.hostSlot.accepted()}
	r.mu.Unlock()

	if older != nil {
		r.tell(older, 0, func() {
			if r.host() != older { // it may have resumed in the meantime
				older.replacedBy(s, 0)
			}
		})
	}
	r.audiences.wake()
	return back, nil
}

// host returns the room's host, nil while it is away.
func (r *Room) host() *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hostSlot.current()
}

// setHostLocked makes s the host in place of any other. s is in no room.
func (r *Room) setHostLocked(s *Session) {
	end := r.streams.end()
	r.hostSlot.take(s, end.Seq())
	s.room = r
	s.set(flagHost)
	r.history.newHostLocked()
	r.presence.newHostLocked()
	r.changed()
}

// graceLocked returns how long the room waits for its host to come back.
// UnjoinedGrace does not apply to rooms created over HTTP or restored: their
// creators had a key, or a room before.
func (r *Room) graceLocked() time.Duration {
	c := r.hub.Config()
	if r.from != 0 && r.roster.LastID() == 0 {
		return min(c.HostGrace, c.UnjoinedGrace)
	}
	return c.HostGrace
}

// hostLeft notes that a host has left or lost its connection. Unless another
// session is the host by now, the room waits for the host to come back.
func (r *Room) hostLeft(s *Session) {
	r.mu.Lock()
	grace := r.graceLocked()
	if !r.hostSlot.is(s) {
		r.mu.Unlock()
		return
	}
	if r.stays() {
		r.hostSlot.vacate()
		r.history.stopRequestLocked()
		r.presence.stopLocked()
		r.mu.Unlock()
		return
	}
	if grace <= 0 || r.hub.draining.Load() {
		r.closeLocked()
		r.mu.Unlock()
		why := ReasonHostGone
		if r.hub.draining.Load() {
			why = ReasonShutdown
		}
		r.dismiss(nil, why)
		return
	}
	r.hostSlot.vacate()
	r.presence.stopLocked()
	r.streams.notice(HostLeft{grace})
	r.waitLocked(grace, ReasonHostGone)
	request, waits := r.history.stopRequestLocked()
	r.mu.Unlock()
	if waits {
		r.history.withoutHost(request)
	}
	r.audiences.wake()
}

// closeBy closes the room on behalf of its host, whose connection stays open.
// It returns false if s is no longer the host.
func (r *Room) closeBy(s *Session) bool {
	r.mu.Lock()
	if !r.hostSlot.is(s) {
		r.mu.Unlock()
		return false
	}
	r.closeLocked()
	r.mu.Unlock()
	r.dismiss(nil, ReasonHostClosed)
	return true
}

// confirm makes the new host's token the only valid one after a transfer. It is
// called with the new host's first message.
func (r *Room) confirm(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hostSlot.confirm(s) {
		r.changed()
	}
}

// viewerLocked returns the viewer with an id that a host has named.
func (r *Room) viewerLocked(host *Session, id uint32) (*Session, *Refusal) {
	if !r.hostSlot.is(host) {
		return nil, refused(NotHost) // a former host may not know yet that it was replaced
	}
	viewer := r.roster.Session(id)
	if viewer == nil {
		return nil, noSuchViewer(id)
	}
	return viewer, nil
}

// transferHost makes the viewer with the id the host. The host's worker calls
// it. The viewer's worker makes the change, because it owns the viewer's
// session; the old host then becomes a viewer on its own worker.
func (r *Room) transferHost(host *Session, id uint32, tag Tag) *Refusal {
	r.mu.Lock()
	viewer, f := r.viewerLocked(host, id)
	r.mu.Unlock()
	if f != nil {
		return f
	}
	viewer.shard.Post(func() bool {
		if f := r.promote(viewer, host, id); f != nil {
			f.Tag = tag
			host.shard.Post(func() bool {
				if host.phase == open { // in whatever role by now
					host.Report(f)
					host.conn.Flush()
				}
				return false
			})
			return false
		}
		viewer.conn.Flush()
		r.audiences.wake()
		return false
	})
	return nil
}

// promote makes a viewer the host in place of the given one. The viewer's
// worker calls it. It returns a Refusal if either has changed its role in the
// meantime.
func (r *Room) promote(viewer, host *Session, id uint32) *Refusal {
	if viewer.room != r || viewer.id != id || viewer.has(flagHost) || viewer.phase != open {
		return noSuchViewer(id)
	}
	a := r.audiences.of(viewer.shard)
	r.mu.Lock()
	switch {
	case !r.hostSlot.is(host): // also if the room is closed
		r.mu.Unlock()
		return refused(NotHost)
	case r.roster.Session(id) != viewer: // the viewer has come back on a newer connection
		r.mu.Unlock()
		return noSuchViewer(id)
	}
	viewer.settle(false) // what was published so far reaches it as a viewer; a host has no cursor
	r.pages.changedLocked()
	r.roster.Remove(id)
	a.exits()
	token := credentials.DrawHostToken()
	r.streams.notice(HostChanged{id})
	r.streams.unwant(viewer.encoding)
	r.viewerCount.changedLocked()
	r.setHostLocked(viewer)
	r.posts = posts{}
	r.hostSlot.offer(token)
	r.mu.Unlock()

	a.remove(viewer)
	viewer.id = 0
	viewer.set(flagNewHost)
	viewer.learn(token.String())
	viewer.tell(BecameHost{r.code.String(), token.String(), r.epoch})
	host.shard.Post(func() bool {
		if host.room == r && host.has(flagHost) && host.phase == open {
			r.demote(host)
			host.conn.Flush()
			return false
		}
		r.mu.Lock()
		r.hostSlot.moved()
		r.mu.Unlock()
		return false
	})
	return nil
}

// demote makes a former host a viewer after a transfer. Its worker calls it.
func (r *Room) demote(host *Session) {
	r.mu.Lock()
	r.hostSlot.moved()
	if r.closed || r.hostSlot.is(host) {
		r.mu.Unlock()
		return // the room's end reaches it as a host, or it has resumed in the meantime
	}
	r.pages.changedLocked()
	id, _ := r.roster.Add(host, 0, "")
	r.presence.joinedLocked(id, "")
	r.viewerCount.changedLocked()
	r.enterLocked(host, id, r.streams.want(host.encoding).End())
	w := Joined{Room: r, ID: id, Seq: host.cursor.Seq(), Viewers: r.roster.Viewers(), Host: r.hostSlot.current() != nil}
	r.mu.Unlock()
	r.audiences.of(host.shard).add(host)
	host.learn(string(r.AppendViewerToken(nil, id)))
	host.tellAt(w, host.cursor.Position())
}
