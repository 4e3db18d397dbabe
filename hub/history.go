package hub

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// Viewers ask for the history, and are parked until it is there: they get no
// broadcasts meanwhile. Then each gets it, encoded once for all, and goes on from
// the place in the Log up to which it tells. Whoever joins within freshFor after
// that gets the same one, and what came after it.
//
// In most rooms the host tells it. However many viewers ask, it is asked once, and
// not again within freshFor. Its answer comes in its own order, so it covers
// exactly the broadcasts before it. The room's record answers for a host that
// does not, or that has not said everything itself, as long as it reaches back
// to the first broadcast; and always in rooms whose history the relay keeps.

// freshFor is how long a history serves those who ask.
const freshFor = time.Second

// silentAfter is how long the host may take to answer in a room whose record can
// answer in its place.
const silentAfter = 250 * time.Millisecond

// A source is who tells the history.
type source uint8

// The sources. Viewers wait for one of them.
const (
	fromHost source = iota
	fromRecord
	sources // how many there are
)

// A historyRequest is a room's open question to its host.
type historyRequest struct {
	open   bool
	put    bool          // the host was asked
	number uint32        // of the question; those parked know theirs
	at     time.Duration // when the host was last asked
	timer  *time.Timer   // until it may be asked again, or does not answer
}

func (q *historyRequest) stop() {
	if q.open {
		q.timer.Stop()
		q.open, q.put = false, false
	}
}

// A cachedHistory is a history as it was lately told. It is guarded by the room's lock.
type cachedHistory struct {
	number uint32               // counts them
	byHost bool                 // the host told it; else the record did
	frames map[encoding]*shared // held; those that somebody has wanted
	upTo   ends                 // the places up to which it tells; the record's first
}

// giveHistory has a viewer told the history, and reports whether that can be. It
// is called by the viewer's worker.
func (r *Room) giveHistory(s *Session) bool {
	if r.tellAgain(s) {
		return true
	}
	if r.options.relayTells {
		return r.askRecord(s)
	}
	r.mu.Lock()
	hostHasAll := r.hostSlot.host != nil && r.hostSlot.since == 0
	r.mu.Unlock()
	return !hostHasAll && r.askRecord(s) || r.askHost(s)
}

// beginAtHistory has a viewer that has just joined, and will ask for the
// history, begin where the latest one ends instead of now.
func (r *Room) beginAtHistory(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	frame, to := r.cachedLocked(s.encoding)
	if frame == nil {
		to = r.record.upTo.of(s.encoding)
	}
	if to.log == s.log() {
		s.cursor = to.end
		s.allowLag()
	}
}

// tellAgain gives a viewer the history that was told lately, unless the viewer
// has got broadcasts since.
func (r *Room) tellAgain(s *Session) bool {
	r.mu.Lock()
	frame, to := r.cachedLocked(s.encoding)
	if frame == nil || !to.fits(s) {
		r.mu.Unlock()
		return false
	}
	frame.hold()
	r.mu.Unlock()
	s.spliceHistory(frame, to.end)
	frame.release()
	return true
}

// cachedLocked returns the cached history in an encoding that a viewer reads, and
// where it ends, nil if there is none. In an encoding that nobody had wanted when it was told it is
// made of the record's.
func (r *Room) cachedLocked(e encoding) (frame *shared, to endOf) {
	c := &r.cachedHistory
	if frame, to := c.frames[e], c.upTo.of(e); frame != nil && to.log == r.in(e) {
		return frame, to
	}
	if len(c.upTo) == 0 {
		return nil, endOf{}
	}
	told := c.frames[c.upTo[0].encoding]
	seq := c.upTo[0].end.Seq()
	place, ok := r.in(e).At(seq + 1)
	if told == nil || !ok {
		return nil, endOf{}
	}
	h, mine := r.hub, &r.hub.encodings[e]
	if c.frames[e] == nil {
		switch {
		case c.byHost:
			c.frames[e] = h.newShared(mine.Broadcast(nil, broadcastIn(told.frame, seq)))
		case mine.dialect == h.encodings[r.recordEncoding()].dialect:
			c.frames[e] = told.hold()
		default:
			return nil, endOf{}
		}
	}
	return c.frames[e], endOf{e, r.in(e), place}
}

// keepLocked has a history serve those who come within freshFor.
func (r *Room) keepLocked(byHost bool, frames map[encoding]*shared, upTo ends) {
	r.cachedHistory.drop()
	frames = maps.Clone(frames)
	for _, frame := range frames {
		frame.hold()
	}
	r.cachedHistory = cachedHistory{r.cachedHistory.number + 1, byHost, frames, upTo}
	number := r.cachedHistory.number
	time.AfterFunc(freshFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.cachedHistory.number == number {
			r.cachedHistory.drop()
		}
		r.dropEndsLocked(upTo)
	})
}

// drop gives the history's memory back.
func (t *cachedHistory) drop() {
	for _, frame := range t.frames {
		frame.release()
	}
	*t = cachedHistory{number: t.number}
}

// ends are one moment's ends of a room's Logs.
type ends []endOf

type endOf struct {
	encoding encoding
	log      *broadcast.Log
	end      broadcast.Cursor
}

// of returns the end of the Log in an encoding; the zero one if there was none.
func (all ends) of(e encoding) endOf {
	for _, one := range all {
		if one.encoding == e {
			return one
		}
	}
	return endOf{}
}

// takeEndsLocked returns where the room's Logs end now. They stay, whoever wants
// them, until dropEndsLocked, so that those who come meanwhile can go on from there.
func (r *Room) takeEndsLocked() (now ends) {
	for _, st := range *r.streams.Load() {
		st.wants++
		now = append(now, endOf{st.encoding, st.log, st.log.End()})
	}
	return now
}

// dropEndsLocked ends what takeEndsLocked began.
func (r *Room) dropEndsLocked(taken ends) {
	for _, one := range taken {
		r.unwantLocked(one.encoding)
	}
}

// fits reports whether a viewer has not got further yet.
func (to endOf) fits(s *Session) bool {
	return to.log == s.log() && to.end.Position() >= s.cursor.Position()
}

// askHost parks a viewer until the host's history is there, and has the host
// asked unless it is being asked. It is called by the viewer's worker, and
// returns false if there is none.
func (r *Room) askHost(s *Session) bool {
	r.mu.Lock()
	if r.hostSlot.host == nil {
		r.mu.Unlock()
		return false
	}
	q := &r.historyRequest
	if !q.open {
		q.open = true
		q.number++
		if wait := q.at + freshFor - r.hub.now(); q.number > 1 && wait > 0 {
			question := q.number
			q.timer = time.AfterFunc(wait, func() { r.putQuestion(question) })
		} else {
			r.putQuestionLocked()
		}
	}
	question := q.number
	r.mu.Unlock()
	r.audience(s.shard).park(s, fromHost, question)
	return true
}

// putQuestion asks the host what could not be asked at once.
func (r *Room) putQuestion(question uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := &r.historyRequest; q.open && !q.put && q.number == question && r.hostSlot.host != nil {
		r.putQuestionLocked()
	}
}

func (r *Room) putQuestionLocked() {
	q := &r.historyRequest
	q.put, q.at = true, r.hub.now()
	question := q.number
	q.timer = time.AfterFunc(min(silentAfter, r.hub.Config().HistoryTimeout), func() { r.hostLate(question) })
	r.askHostLocked()
}

// askHostLocked puts the open question to the present host.
func (r *Room) askHostLocked() {
	host := r.hostSlot.host
	r.tell(host, 0, func() { host.tell(HistoryRequest{}) })
}

// answerHistory gives the host's history, as it is, to those who wait for it.
// It is dropped if nobody does. It is called by the host's worker.
func (r *Room) answerHistory(host *Session, op ws.OpCode, payload []byte) {
	r.mu.Lock()
	if !r.historyRequest.put || r.hostSlot.host != host {
		r.mu.Unlock()
		return
	}
	r.historyRequest.stop()
	question, upTo := r.historyRequest.number, r.takeEndsLocked()
	r.mu.Unlock()

	if !r.hub.fitsHistory(len(upTo) * len(payload)) {
		r.mu.Lock()
		r.dropEndsLocked(upTo)
		r.mu.Unlock()
		r.unpark(fromHost, question, func(s *Session) { s.historyUnavailable(relayBusy()) }, nil)
		return
	}
	// Once in each encoding, with the number of the last broadcast that it covers.
	frames := make(map[encoding]*shared)
	for _, to := range upTo {
		told := Broadcast{to.end.Seq(), op, payload}
		frames[to.encoding] = r.hub.newShared(r.hub.encodings[to.encoding].Broadcast(nil, told))
	}
	r.mu.Lock()
	r.keepLocked(true, frames, upTo)
	r.mu.Unlock()
	r.unpark(fromHost, question, func(s *Session) {
		s.spliceHistory(frames[s.encoding], upTo.of(s.encoding).end)
	}, func() {
		for _, frame := range frames {
			frame.release()
		}
	})
}

// historyTake returns how long the session may take for a history: a few seconds
// only when there is little room for others.
func (s *Session) historyTake() time.Duration {
	limit := s.shard.hub.Config().HistoryTake
	if b := &s.shard.hub.budget; b.LevelWith(b.Limit()/16) >= budget.Tight {
		limit = min(limit, hastyHistory)
	}
	return limit
}

const hastyHistory = 5 * time.Second

// fitsHistory reports whether the budget has room for so many bytes of
// histories.
func (h *Hub) fitsHistory(bytes int) bool { return h.budget.LevelWith(int64(bytes)) < budget.Tight }

// hostLate has the record answer for a host that takes its time, if it can. Else
// the host has the rest of its time.
func (r *Room) hostLate(question uint32) {
	wait := r.hub.Config().HistoryTimeout - silentAfter
	r.mu.Lock()
	q, oldest := &r.historyRequest, r.log.Oldest()
	if wait > 0 && oldest.Seq() > 0 && q.put && q.number == question {
		q.timer = time.AfterFunc(wait, func() { r.hostSilent(question) })
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if r.endQuestion(question) {
		r.unpark(fromHost, question, func(s *Session) {
			if !r.askRecord(s) && !r.askHost(s) { // the record has just been trimmed
				s.historyUnavailable(refused(HistoryWithoutHost))
			}
		}, nil)
	}
}

// hostSilent ends the wait for those whose question the host has not answered in
// time. If the record does not reach back far enough the live stream goes on
// where it stopped.
func (r *Room) hostSilent(question uint32) {
	if r.endQuestion(question) {
		r.doWithoutHost(question)
	}
}

// endQuestion ends the wait for the host, and reports whether it had not ended
// before.
func (r *Room) endQuestion(question uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.historyRequest.open || r.historyRequest.number != question {
		return false
	}
	r.historyRequest.stop()
	return true
}

// doWithoutHost gives those the record whose question the host will not answer.
func (r *Room) doWithoutHost(question uint32) {
	r.unpark(fromHost, question, func(s *Session) {
		if !r.askRecord(s) {
			s.historyUnavailable(refused(HistoryUnanswered))
		}
	}, nil)
}

// historyUnavailable ends a viewer's wait in vain. What came meanwhile is a
// backlog to catch up with, not a lag.
func (s *Session) historyUnavailable(f *Refusal) {
	s.allowLag()
	f.History = true
	s.Report(f)
}

// park has a viewer wait for the answer to a question.
func (a *audience) park(s *Session, from source, question uint32) {
	s.set(flagParked)
	if a.parked[from] == nil {
		a.parked[from] = make(map[*Session]uint32)
	}
	a.parked[from][s] = question
}

// unpark has f called for each viewer that waited for the question, or an
// older one, and lets it go on; and then done, unless it is nil. It may be called
// from anywhere.
func (r *Room) unpark(from source, question uint32, f func(*Session), done func()) {
	var left atomic.Int32
	left.Store(1)
	finish := func() {
		if left.Add(-1) == 0 && done != nil {
			done()
		}
	}
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			left.Add(1)
			a.shard.Post(func() (more bool) {
				if more = a.unpark(from, question, f); !more {
					finish()
				}
				return more
			})
		}
	}
	finish()
}

// unpark lets those go on who waited for the question.
func (a *audience) unpark(from source, question uint32, f func(*Session)) (more bool) {
	for s, waits := range a.parked[from] {
		if waits > question {
			continue
		}
		delete(a.parked[from], s)
		s.clear(flagParked)
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
