package hub

import "time"

// A rate is how much a session said lately. The times are the worker's.
type rate struct {
	since    uint32 // when the second that is counted began
	messages int    // in it; of a host the broadcasts
	requests int    // in it, of a host: its other messages
	asked    uint32 // when a history was last asked for
	hasAsked bool

	pages   bucket
	errors  bucket
	told    int // errors, of those in the chunk that is being looked at
	omitted int // errors that were not told, and messages that were ignored after them
}

// second is the time over which messages are counted, in the worker's time.
const second = 1000

// A bucket allows so many in a row, and then one in each interval (a leaky
// bucket, as the generic cell rate algorithm of ITU-T I.371 has it). Its zero
// value is empty.
type bucket struct{ full uint32 } // when it will be empty again, in the worker's time

// allow reports whether one more fits, and takes it in if it does.
func (b *bucket) allow(now uint32, burst int, interval time.Duration) bool {
	every := uint32(interval.Milliseconds())
	if b.empty(now) {
		b.full = now
	}
	if b.full-now > every*uint32(burst-1) {
		return false
	}
	b.full += every
	return true
}

// empty reports whether nothing that was taken in matters any more.
func (b *bucket) empty(now uint32) bool { return b.full == 0 || int32(b.full-now) <= 0 }

// Errors are told up to this rate. Beyond it messages are ignored and counted, and
// at the end of the chunk the connection is closed.
const (
	errorBurst     = 64
	hostErrorBurst = 250 // it may write to a hall of which a part has just left
	errorEvery     = time.Second / 32
)

// tellsError counts an error, and reports whether it is told.
func (s *Session) tellsError() bool {
	rate, burst := &s.extra().rate, errorBurst
	if s.has(flagHost) {
		burst = hostErrorBurst
	}
	if rate.omitted > 0 || !rate.errors.allow(s.shard.Now(), burst, errorEvery) {
		rate.omitted++
		return false
	}
	rate.told++
	return true
}

// Pages of a list are told up to this rate: 20 of them are 20,000 viewers.
const (
	pageBurst = 20
	pageEvery = time.Second
)

// overRate counts a message, and reports whether it is one too many in this
// second.
func (s *Session) overRate() bool {
	return s.isOver(&s.extra().rate.messages, s.shard.hub.Config().ViewerRate)
}

// isOver counts one in this second, and reports whether it is one too many; a
// limit of 0 allows any number.
func (s *Session) isOver(count *int, limit int) bool {
	if limit <= 0 {
		return false
	}
	rate := &s.more.rate
	if now := s.shard.Now(); now-rate.since >= second {
		rate.since, rate.messages, rate.requests = now, 0, 0
	}
	*count++
	return *count > limit
}

// asksTooSoon reports whether the last question for the history was too
// recent.
func (s *Session) asksTooSoon() bool {
	return s.more != nil && s.more.rate.hasAsked && !s.past(s.more.rate.asked, s.shard.hub.Config().HistoryEvery)
}

// noteAsked notes that the history was asked for.
func (s *Session) noteAsked() {
	rate := &s.extra().rate
	rate.asked, rate.hasAsked = s.shard.Now(), true
}

// silent reports whether nothing that was said lately matters any more.
func (s *Session) silent() bool {
	rate, now := &s.more.rate, s.shard.Now()
	return now-rate.since >= second && !s.asksTooSoon() && rate.errors.empty(now) && rate.pages.empty(now)
}

// returns is how often viewers have asked for the history lately, by their ids. It
// keeps a viewer from evading HistoryEvery by coming back on a new connection, and
// lets those through whose network is bad. It is guarded by the room's lock.
type returns map[uint32]*bucket

const (
	// maxReturns is how many viewers are remembered, at some 60 bytes each. Of more
	// none may ask again at once.
	maxReturns = 20_000
	// returnBurst is how often a viewer may ask for the history within HistoryEvery,
	// each time on a new connection.
	returnBurst = 3
)

// mayAsk reports whether the viewer with the id may ask for the history.
func (r *Room) mayAsk(id uint32, now uint32) bool {
	every := r.hub.Config().HistoryEvery
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.returns[id]
	if b == nil {
		if n := len(r.returns); n >= maxReturns || n >= minMembers && n&(n-1) == 0 {
			r.returns.forget(now)
		}
		if len(r.returns) >= maxReturns {
			return false
		}
		if r.returns == nil {
			r.returns = make(returns)
		}
		b = new(bucket)
		r.returns[id] = b
	}
	return b.allow(now, returnBurst, every)
}

// forget forgets those that have not come back for a while.
func (r returns) forget(now uint32) {
	for id, b := range r {
		if b.empty(now) {
			delete(r, id)
		}
	}
}
