//go:build linux

package netpoll

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A slice of a worker's turn ends with whichever of these comes first.
const (
	sliceSends = 256
	sliceBytes = 1 << 20
	sliceTime  = time.Millisecond
	shareTime  = sliceTime / 2 // instead of sliceTime, of what must not keep others waiting

	clockEvery = 16 // questions whether the slice is over between two looks at the clock
)

// A tick comes every tickEvery and goes over a part of the connections, so that a
// round over all of them takes a second. A connection is visited when its count of
// rounds is used up. The counts are bytes in a row: passing over a connection takes
// a nanosecond, while a visit waits for memory.
const (
	tickEvery = 250 * time.Millisecond
	tickParts = 4
	roundTime = tickEvery * tickParts

	maxRounds  = 8    // between two visits to a connection of which nothing can be due
	passedOver = 4096 // connections in a row that are passed over between two looks at the clock
)

// A Worker owns a share of the connections. Its turn runs in the goroutine of
// its epoll.
type Worker struct {
	pool   *Pool    // immutable
	poller poller   // immutable after newWorker
	wake   *eventFD // immutable after newWorker
	stats  workerStats

	signalled atomic.Bool // a turn is on its way
	tickDue   atomic.Bool
	now       atomic.Uint32 // coarse time of the last turn

	mu     sync.Mutex
	posted [places][]func() bool // guarded by mu
	closed bool                  // guarded by mu; nothing is posted any more

	buf      []byte                     // owned by the turn; what recv reads into
	scratch  scratch                    // owned by the turn
	conns    []*Conn                    // owned by the turn
	due      []uint8                    // owned by the turn; in how many rounds to visit each of conns, 1 to maxRounds
	ready    [places]queue[*Conn]       // owned by the turn; connections with events
	tasks    [places]queue[func() bool] // owned by the turn
	slice    slice                      // owned by the turn
	scan     scan                       // owned by the turn
	warm     warmer                     // owned by the turn
	draining bool                       // owned by the turn
}

// A place is where something waits for its part of a turn. What had a part and has
// more to do waits apart from what comes anew, which is mostly short: those are the
// sparse flows of FQ-CoDel (RFC 8290 4.2). So a room that speaks now and then does
// not wait for all the rooms and clients that never stop.
type place int

const (
	anew   place = iota
	rest         // of a task that returned true: a large hall
	again        // a connection that goes on and on
	behind       // connections that are not established, or have hung up
	places
)

// part returns how long the part of a turn is that a place has.
func (p place) part() time.Duration {
	if p >= again {
		return shareTime
	}
	return sliceTime
}

// workerStats are counted by the worker and read by anyone.
type workerStats struct {
	conns, queue, held          atomic.Int64
	turns, blocked              atomic.Uint64
	bytesIn, bytesOut, accepted atomic.Uint64
	offloaded                   atomic.Uint64
}

func newWorker(pool *Pool) (*Worker, error) {
	w := &Worker{pool: pool, buf: make([]byte, maxVisit)}
	wake, err := newEventFD()
	if err != nil {
		return nil, err
	}
	w.wake = wake
	if w.warm, err = newWarmer(); err != nil {
		wake.close()
		return nil, err
	}
	if w.poller, err = newPoller(pool.failed); err != nil {
		wake.close()
		w.warm.close()
		return nil, err
	}
	err = errors.Join(w.poller.add(w.warm.fd, w.keepWarm), w.poller.add(wake.fd, w.turn))
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// close ends the epoll, and with it the turns. The connections must be gone.
func (w *Worker) close() error {
	w.mu.Lock()
	w.closed = true
	w.posted = [places][]func() bool{}
	w.mu.Unlock()
	err := w.poller.close()
	w.wake.close()
	w.warm.close()
	return err
}

// Post has task run in one of the worker's next turns. A task that returns
// true has more to do and is run again, after the connections and the other
// tasks had their turn. Post may be called from anywhere; it never blocks. It
// does nothing once the pool is closed.
func (w *Worker) Post(task func() (more bool)) { w.post(anew, task) }

// PostAgain has task run like Post, in the place of connections that had their part of
// a turn and have more to do.
func (w *Worker) PostAgain(task func() (more bool)) { w.post(again, task) }

// PostBehind has task run like Post, but behind what Post was given, in a slice of
// its own: it is for strangers, of whom there may be a crowd.
func (w *Worker) PostBehind(task func() (more bool)) { w.post(behind, task) }

func (w *Worker) post(p place, task func() (more bool)) {
	w.mu.Lock()
	if !w.closed {
		w.posted[p] = append(w.posted[p], task)
	}
	w.mu.Unlock()
	w.signal()
}

// Spent reports whether the running slice of the turn is over: a task that
// sends in a loop asks between two connections, and returns true if it is. For
// the worker only.
func (w *Worker) Spent() bool { return w.slice.spent() }

// Now returns the coarse time: milliseconds for which the process has run since
// the pool was made, as of the worker's last turn. When the process, or its
// machine, was stopped for more than two seconds, those are left out. It wraps
// around after 49 days, so only differences mean anything.
func (w *Worker) Now() uint32 { return w.now.Load() }

// signal brings about a turn, unless one is on its way.
func (w *Worker) signal() {
	if w.signalled.CompareAndSwap(false, true) {
		w.wake.signal()
	}
}

// turn is what the worker does each time it is woken. It knows nothing of how.
func (w *Worker) turn(e events) {
	if e == eventClosed {
		return
	}
	w.signalled.Store(false)
	w.now.Store(w.pool.coarse())
	w.stats.turns.Add(1)

	w.takePosts()
	worked := w.tasks[anew].len()+w.tasks[rest].len()+w.tasks[again].len() > 0
	for p := range places {
		w.serve(p)
	}
	for p := range places {
		w.run(p)
	}
	w.tick()
	w.warm.rearm(w.Now(), worked) // a tick alone does not keep it warm

	left := 0
	for p := range places {
		left += w.ready[p].len() + w.tasks[p].len()
	}
	w.stats.queue.Store(int64(left))
	if left > 0 || w.scan.left > 0 {
		w.signal()
	}
	// Raw system calls never yield, so without this everybody else would wait
	// for the scheduler's 10 ms preemption.
	runtime.Gosched()
}

// keepWarm is what the worker does when only its warmer has woken it.
func (w *Worker) keepWarm(events) {
	w.warm.armed = false
	w.now.Store(w.pool.coarse())
	w.warm.rearm(w.Now(), false)
	runtime.Gosched()
}

// takePosts moves what was posted into the task lists.
func (w *Worker) takePosts() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range places {
		w.posted[p] = take(&w.tasks[p], w.posted[p])
	}
}

// take moves what was posted into a queue, and returns the memory that may be used
// again.
func take(q *queue[func() bool], posted []func() bool) []func() bool {
	q.push(posted...)
	clear(posted)
	if cap(posted) > maxIdleQueue {
		return nil
	}
	return posted[:0]
}

// serve visits the connections that were ready in a place when it began, for at most
// the place's part.
func (w *Worker) serve(p place) {
	q := &w.ready[p]
	if q.len() == 0 {
		return
	}
	w.slice.begin(p.part())
	for n := q.len(); n > 0 && !w.slice.spentNow(); n-- {
		q.pop().serve()
	}
}

// run runs the tasks that were in a place when it began, for at most the place's part.
func (w *Worker) run(p place) {
	q := &w.tasks[p]
	if q.len() == 0 {
		return
	}
	w.slice.begin(p.part())
	for n := q.len(); n > 0 && !w.slice.spentNow(); n-- {
		task := q.pop()
		if task() {
			w.tasks[max(p, rest)].push(task)
		}
	}
}

// add makes a connection of what has arrived and opens a session on it.
func (w *Worker) add(a arrival) {
	c := &Conn{worker: w, fd: int32(a.fd), slot: int32(len(w.conns))}
	if a.kernel {
		c.sending = encrypting
	}
	w.conns = append(w.conns, c)
	w.due = append(w.due, 1)
	if a.transport != nil {
		c.Through(a.transport)
		c.carrier.count(w) // it was let in before, so it may stay
		if len(a.rest) > 0 {
			c.carrier.keep(c, a.rest)
		}
	}
	c.session = a.open(w, c)
	if err := w.poller.add(a.fd, c.notify); err != nil {
		c.close(err)
		return
	}
	if w.draining {
		c.session.Shutdown()
	}
	if len(a.unread) > 0 {
		c.session.Receive(a.unread)
	}
	c.Flush()
}

// remove takes c out of the list of connections. The last connection moves into its
// place, and so may miss a round of ticks.
func (w *Worker) remove(c *Conn) {
	last := len(w.conns) - 1
	moved := w.conns[last]
	w.conns[c.slot], moved.slot = moved, c.slot
	w.conns[last] = nil
	w.conns = w.conns[:last]
	w.due[c.slot] = w.due[last]
	w.due = w.due[:last]
	if cap(w.conns) > maxIdleQueue && len(w.conns) < cap(w.conns)/4 {
		w.conns = append(make([]*Conn, 0, 2*len(w.conns)), w.conns...)
		w.due = append(make([]uint8, 0, 2*len(w.due)), w.due...)
	}
	w.stats.conns.Add(-1)
	w.pool.gone()
}

// scan is the place of the rotating visit to all connections.
type scan struct {
	next int // in conns
	left int // to be visited in this part
	part int // of the round
	size int // of a part, from when the round began
}

// begin starts the next part. All parts of a round are as large as the first,
// so that a round comes to everybody although those visited may close.
func (s *scan) begin(conns int) {
	if s.part == 0 {
		s.size = (conns + tickParts - 1) / tickParts
	}
	s.part = (s.part + 1) % tickParts
	s.left = s.size
}

// rounds returns in how many rounds to visit a connection of which nothing is due
// for some time.
func rounds(next time.Duration) uint8 {
	return uint8(max(1, min((next+roundTime-1)/roundTime, maxRounds)))
}

// tick goes over the connections whose turn it is, for at most a slice.
func (w *Worker) tick() {
	if w.tickDue.Swap(false) && w.scan.left == 0 {
		w.scan.begin(len(w.conns))
	}
	if w.scan.left == 0 {
		return
	}
	w.slice.begin(shareTime)
	for w.scan.left > 0 && len(w.conns) > 0 {
		if w.scan.next >= len(w.conns) {
			w.scan.next = 0
		}
		w.scan.left--
		if at := w.scan.next; w.due[at] > 1 {
			w.due[at]--
			w.scan.next++
			if w.scan.next%passedOver == 0 && w.slice.spentNow() {
				return
			}
			continue
		}
		c := w.conns[w.scan.next]
		c.tick()
		if w.scan.next < len(w.conns) && w.conns[w.scan.next] == c {
			w.scan.next++ // if it has closed, another one is in its place
		}
		if w.Spent() {
			return
		}
	}
	w.scan.left = 0
}

// drain tells every session that the server ends, newest first, a slice at a
// time. Sessions that open later are shut down as they open.
func (w *Worker) drain() func() bool {
	next := -1
	return func() (more bool) {
		if next < 0 {
			w.draining = true
			next = len(w.conns)
		}
		// Shutdown may have closed the connection, and others were closed since the
		// last slice.
		for next = min(next, len(w.conns)); next > 0; next = min(next, len(w.conns)) {
			next--
			c := w.conns[next]
			c.soon()
			c.session.Shutdown()
			c.Flush()
			if w.Spent() {
				return true
			}
		}
		return false
	}
}

// abort closes every connection at once, those too that are on their way here.
func (w *Worker) abort() bool {
	w.takePosts()
	for crowd := &w.tasks[behind]; crowd.len() > 0; {
		crowd.pop()()
	}
	for len(w.conns) > 0 {
		w.conns[len(w.conns)-1].Abort()
	}
	return false
}

// A slice counts what was sent since it began.
type slice struct {
	sends, bytes, asked int
	end                 time.Time
	over                bool
}

func (s *slice) begin(limit time.Duration) { *s = slice{end: time.Now().Add(limit)} }

func (s *slice) charge(n int) {
	s.sends++
	s.bytes += n
}

// spent looks at the clock only every so many times. It counts questions and not
// sends: to close a thousand connections takes long too.
func (s *slice) spent() bool {
	if s.over || s.sends >= sliceSends || s.bytes >= sliceBytes {
		return true
	}
	if s.asked++; s.asked%clockEvery != 0 {
		return false
	}
	return s.spentNow()
}

func (s *slice) spentNow() bool {
	if !s.over {
		s.over = s.sends >= sliceSends || s.bytes >= sliceBytes || !time.Now().Before(s.end)
	}
	return s.over
}
