package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A queue is the rooms that have yet to be read. Methods may be called from any
// goroutine.
type queue struct {
	mu      sync.Mutex
	waiting map[string]*diskRoom // guarded by mu; rooms that no loader has begun to read
	order   []*diskRoom          // guarded by mu; all rooms; some of them may have been read
	wanted  []*diskRoom          // guarded by mu; rooms that clients ask for; some may have been read
	failed  []*diskRoom          // guarded by mu; rooms that could not be read
	mending []*roomRecord        // guarded by mu; rooms whose files the writer has to repair or delete
	rooms   int                  // guarded by mu; number of rooms given to the hub
	unclean int                  // guarded by mu; number of those that began a new epoch

	reading map[*diskRoom]time.Time // guarded by mu; rooms being read, and since when
}

func (q *queue) begin(rooms []*diskRoom) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.order, q.waiting = rooms, make(map[string]*diskRoom, len(rooms))
	q.reading = make(map[*diskRoom]time.Time)
	for _, r := range rooms {
		q.waiting[r.code] = r
	}
}

// codes returns the codes of the rooms that no loader has begun to read.
func (q *queue) codes() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Keys(q.waiting))
}

// want has a room read before the others.
func (q *queue) want(code string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r := q.waiting[code]; r != nil {
		q.wanted = append(q.wanted, r)
	}
}

// next returns the next room to read, nil if there is none.
func (q *queue) next() *diskRoom {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, from := range []*[]*diskRoom{&q.wanted, &q.order} {
		for len(*from) > 0 {
			r := (*from)[0]
			*from = (*from)[1:]
			if q.waiting[r.code] != nil {
				delete(q.waiting, r.code)
				q.reading[r] = time.Now()
				return r
			}
		}
	}
	q.waiting, q.order, q.wanted = nil, nil, nil
	return nil
}

// read notes that a loader has finished with a room.
func (q *queue) read(r *diskRoom) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.reading, r)
}

// stuck returns an error if reading a room takes too long.
func (q *queue) stuck() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r, since := range q.reading {
		if time.Since(since) > stuckAfter {
			return fmt.Errorf("read room %s: no answer for more than %s", r.code, stuckAfter)
		}
	}
	return nil
}

// later notes that a room could not be read.
func (q *queue) later(r *diskRoom) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failed = append(q.failed, r)
}

// unread removes and returns the rooms that could not be read.
func (q *queue) unread() []*diskRoom {
	q.mu.Lock()
	defer q.mu.Unlock()
	rooms := q.failed
	q.failed = nil
	return rooms
}

// mend has the writer repair or delete a room's files although the room has not
// changed.
func (q *queue) mend(rec *roomRecord) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mending = append(q.mending, rec)
}

// toMend removes and returns the rooms that mend was called for.
func (q *queue) toMend() []*roomRecord {
	q.mu.Lock()
	defer q.mu.Unlock()
	rooms := q.mending
	q.mending = nil
	return rooms
}

// count counts a room that was given to the hub.
func (q *queue) count(newEpoch bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rooms++
	if newEpoch {
		q.unclean++
	}
}

func (q *queue) counts() (rooms, unclean int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rooms, q.unclean
}
