package hub

import "time"

// Viewers ask for the history, and are parked until it is there: they get no
// broadcasts meanwhile. Then each gets it, encoded once for all, and goes on from
// the place in the Log up to which it tells.
//
// In most rooms the host tells it. However many viewers ask, it is asked once.
// Its answer comes in its own order, so it covers exactly the broadcasts before
// it. The room's record answers for a host that does not, or that has not said
// everything itself, as long as it reaches back to the first broadcast; and
// always in rooms whose history the relay keeps.

// A source is who tells the history.
type source uint8

// The sources. Viewers wait for one of them.
const (
	fromHost source = iota
	fromRecord
	sources // how many there are
)

// asking is a room's open question to its host.
type asking struct {
	open   bool
	number uint32      // of the question; those parked know theirs
	timer  *time.Timer // ends the question when the host does not answer
}

func (q *asking) stop() {
	if q.open {
		q.timer.Stop()
		q.open = false
	}
}

// giveHistory has a viewer told the history, and reports whether that can be.
// With joining it has not had any broadcast yet. It is called by the viewer's
// worker.
func (r *Room) giveHistory(s *Session, joining bool) bool {
	if r.options.relayTells {
		return r.tellRecord(s, joining)
	}
	r.mu.Lock()
	knows := r.seat.host != nil && r.seat.since == 0
	r.mu.Unlock()
	return !knows && r.tellRecord(s, joining) || r.askHost(s)
}

// askHost parks a viewer until the host's history is there, and asks the host
// unless it is being asked. It is called by the viewer's worker, and returns
// false if there is none.
func (r *Room) askHost(s *Session) bool {
	r.mu.Lock()
	if r.seat.host == nil {
		r.mu.Unlock()
		return false
	}
	if !r.asking.open {
		r.asking.open = true
		r.asking.number++
		question := r.asking.number
		r.asking.timer = time.AfterFunc(r.hub.Config().HistoryTimeout, func() { r.hostSilent(question) })
		r.askHostLocked()
	}
	question := r.asking.number
	r.mu.Unlock()
	r.audience(s.shard).park(s, fromHost, question)
	return true
}

// askHostLocked puts the open question to the present host.
func (r *Room) askHostLocked() {
	host := r.seat.host
	r.tell(host, 0, func() { host.tell(historyRequest) })
}

var historyRequest = []byte(`{"type":"history_request"}`)

// answerHistory gives the host's history, as it is, to those who wait for it.
// It is dropped if nobody does. It is called by the host's worker.
func (r *Room) answerHistory(host *Session, payload []byte) {
	r.mu.Lock()
	if !r.asking.open || r.seat.host != host {
		r.mu.Unlock()
		return
	}
	r.asking.stop()
	question, upTo := r.asking.number, r.endsLocked()
	r.mu.Unlock()

	// Once in each encoding, with the number of the last broadcast that it covers.
	var histories [encodings][]byte
	for e := range upTo {
		if upTo[e].log != nil {
			histories[e] = writers[e].append(nil, upTo[e].end.Seq(), payload)
		}
	}
	r.unpark(fromHost, question, func(s *Session) {
		s.spliceHistory(histories[s.encoding], upTo[s.encoding].end)
	})
}

// hostSilent gives those the record whose question the host has not answered in
// time. If it does not reach back far enough the live stream goes on where it
// stopped.
func (r *Room) hostSilent(question uint32) {
	r.mu.Lock()
	late := r.asking.open && r.asking.number == question
	r.asking.stop()
	r.mu.Unlock()
	if late {
		r.unpark(fromHost, question, func(s *Session) {
			if !r.tellRecord(s, false) {
				s.historyUnavailable("the host did not answer in time")
			}
		})
	}
}

// historyUnavailable ends a viewer's wait in vain. What came meanwhile is a
// backlog to catch up with, not a lag.
func (s *Session) historyUnavailable(message string) {
	s.excuse()
	s.report(&fault{code: "history_unavailable", message: message, re: "history_request"})
}

// park has a viewer wait for the answer to a question.
func (a *audience) park(s *Session, from source, question uint32) {
	s.set(markParked)
	if a.parked[from] == nil {
		a.parked[from] = make(map[*Session]uint32)
	}
	a.parked[from][s] = question
}

// unpark has f called for each viewer that waited for the question, or an
// older one, and lets it go on. It may be called from anywhere.
func (r *Room) unpark(from source, question uint32, f func(*Session)) {
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			a.shard.Post(func() bool { return a.unpark(from, question, f) })
		}
	}
}

// unpark lets those go on who waited for the question.
func (a *audience) unpark(from source, question uint32, f func(*Session)) (more bool) {
	for s, waits := range a.parked[from] {
		if waits > question {
			continue
		}
		delete(a.parked[from], s)
		s.clear(markParked)
		f(s)
		s.conn.Flush()
		if a.shard.Spent() {
			return true
		}
	}
	if len(a.parked[from]) == 0 {
		a.parked[from] = nil
	}
	return false
}
