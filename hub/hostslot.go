package hub

import "time"

// A hostSlot is a room's place for its host. It is guarded by the room's lock.
type hostSlot struct {
	host     *Session // nil while nobody is there
	since    uint64   // the last broadcast before the host took its place
	token    secret   // proves that one is the host
	newToken secret   // the token of a host by grant, until its first message
	sent     uint64   // broadcasts taken from hosts
	hosted   bool     // somebody was there
	moving   int      // places kept for older hosts, which are about to be viewers
	waiting  *time.Timer
}

// waitSteps is in how many steps a room waits for its host, and minWaitStep the
// shortest of them.
const (
	waitSteps   = 10
	minWaitStep = time.Second
)

// waitLocked closes the room when nobody has come by then. It waits in steps, so
// that the time in which the relay did not run, and nobody could come, counts
// for one step at most.
func (r *Room) waitLocked(limit time.Duration, why Reason) {
	r.hostSlot.stopWaiting()
	step := max(limit/waitSteps, minWaitStep)
	left := limit - min(step, limit)
	var timer *time.Timer
	timer = time.AfterFunc(min(step, limit), func() {
		r.mu.Lock()
		// The host may have come, and gone again, at this very moment.
		if r.closed || r.hostSlot.host != nil || r.hostSlot.waiting != timer || r.stays() {
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
	r.hostSlot.waiting = timer
}

func (s *hostSlot) stopWaiting() {
	if s.waiting != nil {
		s.waiting.Stop()
		s.waiting = nil
	}
}

// proves reports whether a token is the host's. While a host by grant has said
// nothing, there are two.
func (s *hostSlot) proves(token string) bool {
	// No short cut: how long it takes tells nothing.
	mine, granted := s.token.is(token), s.newToken.is(token)
	return mine || granted && s.newToken.asked()
}

// A resumption is what a host is told when it has come back.
type resumption struct {
	seq  uint64
	sent uint64
}

// resume seats a host that proves who it is. From then on nothing is accepted
// from an older one. It is called by the new host's worker; s is in no room.
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
	if r.hostSlot.newToken.is(token) {
		r.hostSlot.token = r.hostSlot.newToken
	}
	older := r.hostSlot.host
	r.hostSlot.stopWaiting()
	r.setHostLocked(s)
	if older == nil {
		r.noticeLocked(HostBack{})
	}
	end := r.log.End()
	back := resumption{seq: end.Seq(), sent: r.hostSlot.sent}
	r.mu.Unlock()

	if older != nil {
		r.tell(older, 0, func() {
			if !r.hasHost(older) { // it may have resumed meanwhile
				older.end(ReasonReplaced)
			}
		})
	}
	r.wake()
	return back, nil
}

// hasHost reports whether s is the host. An older one believes that it is until
// its worker has told it otherwise.
func (r *Room) hasHost(s *Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hostSlot.host == s
}

// setHostLocked makes s the host, whoever was it before. s is in no room.
func (r *Room) setHostLocked(s *Session) {
	end := r.log.End()
	r.hostSlot.host, r.hostSlot.hosted, r.hostSlot.since = s, true, end.Seq()
	r.hostSlot.newToken = secret{}
	s.room = r
	s.set(flagHost)
	if r.historyRequest.put {
		r.askHostLocked()
	}
	r.presence.hostLocked(r)
	r.changed()
}

// graceLocked is how long the room waits for its host to come back. Rooms made
// over HTTP, and restored ones, wait as long as any that somebody joined: whoever
// made them has a key, or had a room already.
func (r *Room) graceLocked() time.Duration {
	c := r.hub.Config()
	if r.from != 0 && r.roster.last == 0 {
		return min(c.HostGrace, c.UnjoinedGrace)
	}
	return c.HostGrace
}

// hostLeft is called when a host's connection has ended, or it has left. Unless
// another one has its place, the room waits for it to come back.
func (r *Room) hostLeft(s *Session) {
	r.mu.Lock()
	grace := r.graceLocked()
	if r.hostSlot.host != s {
		r.mu.Unlock()
		return
	}
	if r.stays() {
		r.hostSlot.host = nil
		r.historyRequest.stop()
		r.presence.stop()
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
	r.hostSlot.host = nil
	r.presence.stop()
	r.noticeLocked(HostLeft{grace})
	r.waitLocked(grace, ReasonHostGone)
	question, late := r.historyRequest.number, r.historyRequest.open
	r.historyRequest.stop()
	r.mu.Unlock()
	if late {
		r.doWithoutHost(question)
	}
	r.wake()
}

// closeBy ends the room for its host, whose connection stays.
func (r *Room) closeBy(s *Session) bool {
	r.mu.Lock()
	if r.hostSlot.host != s {
		r.mu.Unlock()
		return false
	}
	r.closeLocked()
	r.mu.Unlock()
	r.dismiss(nil, ReasonHostClosed)
	return true
}

// confirm makes the token of a host by grant the only one. It is called with
// that host's first message.
func (r *Room) confirm(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hostSlot.host == s && r.hostSlot.newToken.asked() {
		r.hostSlot.token, r.hostSlot.newToken = r.hostSlot.newToken, secret{}
		r.changed()
	}
}

// viewerLocked returns the viewer that a host means by an id.
func (r *Room) viewerLocked(host *Session, id uint32) (*Session, *Refusal) {
	if r.hostSlot.host != host {
		return nil, refused(NotHost) // an older one does not know yet that it was replaced
	}
	viewer := r.roster.session(id)
	if viewer == nil {
		return nil, noSuchViewer(id)
	}
	return viewer, nil
}

// transferHost has the viewer with the id take the host's place. It is called by the
// host's worker. The change is made by the viewer's, since it changes that
// session; the old host then becomes a viewer on its own.
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
				if host.phase == open { // whatever it is by now
					host.Report(f)
					host.conn.Flush()
				}
				return false
			})
			return false
		}
		viewer.conn.Flush()
		r.wake()
		return false
	})
	return nil
}

// promote makes a viewer the host in place of the present one. It is called by
// the viewer's worker; both must still be what they were.
func (r *Room) promote(viewer, host *Session, id uint32) *Refusal {
	if viewer.room != r || viewer.id != id || viewer.has(flagHost) || viewer.phase != open {
		return noSuchViewer(id)
	}
	a := r.audience(viewer.shard)
	r.mu.Lock()
	switch {
	case r.hostSlot.host != host: // nor has a closed room one
		r.mu.Unlock()
		return refused(NotHost)
	case r.roster.session(id) != viewer: // it has come back, on a newer connection
		r.mu.Unlock()
		return noSuchViewer(id)
	}
	viewer.settle(false) // up to here it is a viewer; a host has no place in the Log
	r.pages.version++
	r.roster.remove(id)
	a.count.Add(-1)
	token := drawToken()
	r.noticeLocked(HostChanged{id})
	r.unwantLocked(viewer.encoding)
	r.countLocked()
	r.setHostLocked(viewer)
	r.hostSlot.newToken = token.hash()
	r.hostSlot.moving++
	r.mu.Unlock()

	a.remove(viewer)
	viewer.id = 0
	viewer.set(flagNewHost)
	viewer.tell(BecameHost{r.code.String(), token.String(), r.epoch})
	host.shard.Post(func() bool {
		if host.room == r && host.has(flagHost) && host.phase == open {
			r.demote(host)
			host.conn.Flush()
			return false
		}
		r.mu.Lock()
		r.hostSlot.moving--
		r.mu.Unlock()
		return false
	})
	return nil
}

// demote makes a host that has given away its place a viewer. It is called by
// its worker.
func (r *Room) demote(host *Session) {
	r.mu.Lock()
	r.hostSlot.moving--
	if r.closed || r.hostSlot.host == host {
		r.mu.Unlock()
		return // it hears of the end like a host, or has resumed meanwhile
	}
	r.pages.version++
	id, _ := r.roster.add(host, 0, "")
	r.presence.joinedLocked(r, id, "")
	r.countLocked()
	r.enterLocked(host, id, r.wantLocked(host.encoding).End())
	w := Joined{Room: r, ID: id, Seq: host.cursor.Seq(), Viewers: r.roster.viewers, Host: r.hostSlot.host != nil}
	r.mu.Unlock()
	r.audience(host.shard).add(host)
	host.tellAt(w, host.cursor.Position())
}
