package hub

import (
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// A room in which viewers ask for the history asks its host once, however many
// they are. They are parked: they get no broadcasts until the host's answer
// comes. It comes in the host's own order, so it covers exactly the broadcasts
// before it, and each who waited gets it and then the Log from that place.

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

// A parked is a viewer that waits for the answer to a question.
type parked struct {
	session  *Session
	question uint32
}

// askHistory parks a viewer until the host's history is there, and asks the
// host unless it is being asked. It is called by the viewer's worker, and
// returns false if the room is closed.
func (r *Room) askHistory(s *Session) bool {
	r.mu.Lock()
	if r.seat.host == nil {
		r.mu.Unlock()
		return false
	}
	if !r.asking.open {
		r.asking.open = true
		r.asking.number++
		question := r.asking.number
		r.asking.timer = time.AfterFunc(r.hub.Config().HistoryTimeout, func() { r.historyLate(question) })
		r.askHostLocked()
	}
	question := r.asking.number
	r.mu.Unlock()

	s.set(markParked)
	a := r.audience(s.shard)
	a.parked = append(a.parked, parked{s, question})
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
	question, from := r.asking.number, r.log.End()
	r.mu.Unlock()

	history := frame.AppendFrame(nil, ws.OpText, payload) // once, shared by all
	r.unpark(question, func(s *Session) {
		s.spliceHistory(history, from)
	})
}

// historyLate lets the live stream go on where it stopped for those whose
// question was not answered in time.
func (r *Room) historyLate(question uint32) {
	r.mu.Lock()
	late := r.asking.open && r.asking.number == question
	r.asking.stop()
	r.mu.Unlock()
	if late {
		r.unpark(question, func(s *Session) {
			// What came meanwhile is a backlog to catch up with, not a lag.
			s.excuse()
			s.report(&fault{code: "history_unavailable", message: "the host did not answer in time", re: "history_request"})
		})
	}
}

// unpark has f called for each viewer that waited for the question, or an
// older one, and lets it go on. It may be called from anywhere.
func (r *Room) unpark(question uint32, f func(*Session)) {
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			a.shard.Post(func() bool { return a.unpark(question, f) })
		}
	}
}

// unpark lets those go on who waited for the question. They stand in the order
// of their questions.
func (a *audience) unpark(question uint32, f func(*Session)) (more bool) {
	for len(a.parked) > 0 && a.parked[0].question <= question {
		s := a.parked[0].session
		a.parked[0] = parked{}
		a.parked = a.parked[1:]
		s.clear(markParked)
		f(s)
		s.conn.Flush()
		if a.shard.Spent() {
			return true
		}
	}
	if len(a.parked) == 0 {
		a.parked = nil
	}
	return false
}
