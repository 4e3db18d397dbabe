package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A queue is the rooms that are still to be read. Its methods may be called from
// anywhere.
type queue struct {
	mu      sync.Mutex
	waiting map[string]*diskRoom // guarded by mu; those that nobody has begun to read
	order   []*diskRoom          // guarded by mu; some of them have been read
	wanted  []*diskRoom          // guarded by mu; the same; somebody asks for these
	failed  []*diskRoom          // guarded by mu; those that could not be read
	mending []*kept              // guarded by mu; those whose files the writer has to look after
	rooms   int                  // guarded by mu; how many were given to the hub
	unclean int                  // guarded by mu; of them, with a new epoch

	reading map[*diskRoom]time.Time // guarded by mu; since when
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

// codes returns the codes of the rooms that wait.
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

// next returns the next room to be read, nil if there is none.
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

// read notes that a room was read, or could not be.
func (q *queue) read(r *diskRoom) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.reading, r)
}

// stuck reports that a room is being read for too long.
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

// unread takes the rooms that could not be read.
func (q *queue) unread() []*diskRoom {
	q.mu.Lock()
	defer q.mu.Unlock()
	rooms := q.failed
	q.failed = nil
	return rooms
}

// mend has the writer look after a room's files, though nothing has changed.
func (q *queue) mend(k *kept) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mending = append(q.mending, k)
}

// toMend takes the rooms that mend was called for.
func (q *queue) toMend() []*kept {
	q.mu.Lock()
	defer q.mu.Unlock()
	rooms := q.mending
	q.mending = nil
	return rooms
}

// count counts a room that the hub has got.
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
