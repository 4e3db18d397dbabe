package hub

import "time"

// A rate counts what a session has sent lately. Times are the worker's. It
// belongs to the session's worker.
type rate struct {
	since    uint32 // start of the second that is being counted
	messages int    // messages in this second; for a host its broadcasts
	requests int    // for a host: its other messages in this second
	asked    uint32 // when the session last asked for a history
	hasAsked bool

	pages    bucket
	errors   bucket
	reported int // errors reported while the current chunk is handled
	omitted  int // errors that were not reported, and messages ignored after them
}

// second is the time over which messages are counted, in the worker's
// milliseconds.
const second = 1000

// A bucket allows a burst, and then one event in each interval (a leaky bucket,
// the generic cell rate algorithm of ITU-T I.371). The zero value is empty.
type bucket struct{ full uint32 } // when the bucket is empty again, in the worker's time

// allow adds one event if it fits, and reports whether it did.
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

// empty reports whether the bucket is empty.
func (b *bucket) empty(now uint32) bool { return b.full == 0 || int32(b.full-now) <= 0 }

// The relay reports errors up to this rate. Beyond it, it ignores and counts
// messages, and closes the connection at the end of the chunk.
const (
	errorBurst     = 64
	hostErrorBurst = 250 // a host may send direct messages to many viewers that have just left
	errorEvery     = time.Second / 32
)

// tellsError counts an error, and reports whether the client is told of it.
func (s *Session) tellsError() bool {
	rate, burst := &s.extra().rate, errorBurst
	if s.has(flagHost) {
		burst = hostErrorBurst
	}
	if rate.omitted > 0 || !rate.errors.allow(s.shard.Now(), burst, errorEvery) {
		rate.omitted++
		return false
	}
	rate.reported++
	return true
}

// Pages of the list may be requested at this rate: 20 pages are 20,000 viewers.
const (
	pageBurst = 20
	pageEvery = time.Second
)

// overRate counts a message, and reports whether it is over the limit for this
// second.
func (s *Session) overRate() bool {
	return s.isOver(&s.extra().rate.messages, s.shard.hub.Config().ViewerRate)
}

// isOver increments count for this second, and reports whether it is over the
// limit. A limit of 0 allows any number.
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

// asksTooSoon reports whether the session last asked for the history less than
// HistoryEvery ago.
func (s *Session) asksTooSoon() bool {
	return s.more != nil && s.more.rate.hasAsked && !s.past(s.more.rate.asked, s.shard.hub.Config().HistoryEvery)
}

// noteAsked notes that the session has asked for the history.
func (s *Session) noteAsked() {
	rate := &s.extra().rate
	rate.asked, rate.hasAsked = s.shard.Now(), true
}

// silent reports whether the rate no longer affects anything, so that it can be
// dropped.
func (s *Session) silent() bool {
	rate, now := &s.more.rate, s.shard.Now()
	return now-rate.since >= second && !s.asksTooSoon() && rate.errors.empty(now) && rate.pages.empty(now)
}

// returns counts, by viewer id, how often viewers have asked for the history
// lately. It keeps a viewer from evading HistoryEvery by reconnecting, but
// still lets a viewer with a bad network through. It is guarded by the room's
// lock.
type returns struct {
	room    *Room // immutable
	buckets map[uint32]*bucket
}

const (
	// maxReturns is how many viewers are remembered, at some 60 bytes each.
	// When there are more, a viewer that is not among them may not ask.
	maxReturns = 20_000
	// returnBurst is how often a viewer may ask for the history within
	// HistoryEvery, each time on a new connection.
	returnBurst = 3
)

// allow reports whether the viewer with the id may ask for the history. It takes
// the room's lock.
func (r *returns) allow(id uint32, now uint32) bool {
	every := r.room.hub.Config().HistoryEvery
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	b := r.buckets[id]
	if b == nil {
		if n := len(r.buckets); n >= maxReturns || n >= minMembers && n&(n-1) == 0 {
			r.forget(now)
		}
		if len(r.buckets) >= maxReturns {
			return false
		}
		if r.buckets == nil {
			r.buckets = make(map[uint32]*bucket)
		}
		b = new(bucket)
		r.buckets[id] = b
	}
	return b.allow(now, returnBurst, every)
}

// forget drops the viewers whose buckets are empty.
func (r *returns) forget(now uint32) {
	for id, b := range r.buckets {
		if b.empty(now) {
			delete(r.buckets, id)
		}
	}
}
