//go:build linux

package netpoll

import (
	"math"
	"sync/atomic"
	"time"
)

// A quota counts the descriptors that a pool's connections hold, in whatever
// phase, those that were detached included, until they are closed. So what the
// process keeps for its files and its other listeners stays free.
type quota struct {
	max   int64         // immutable
	held  atomic.Int64  // at most max, but for those that were adopted
	freed chan struct{} // has one element after the quota was no longer used up
}

func newQuota(limit int) *quota {
	q := &quota{max: int64(limit), freed: make(chan struct{}, 1)}
	if limit <= 0 {
		q.max = math.MaxInt64
	}
	return q
}

// take counts one more, unless the quota is used up.
func (q *quota) take() bool {
	for {
		held := q.held.Load()
		if held >= q.max {
			return false
		}
		if q.held.CompareAndSwap(held, held+1) {
			return true
		}
	}
}

// give counts one less.
func (q *quota) give() {
	if q.held.Add(-1) == q.max-1 {
		select {
		case q.freed <- struct{}{}:
		default:
		}
	}
}

// crowded reports whether less than one in crowdedPart is left, or less than
// crowdedLeft.
func (q *quota) crowded() bool {
	return q.max-q.held.Load() <= max(crowdedLeft, q.max/crowdedPart)
}

const (
	crowdedPart = 128
	crowdedLeft = 2
)

// wait returns when the quota may not be used up any more, at the latest after
// the limit, or when stop is closed.
func (q *quota) wait(limit time.Duration, stop <-chan struct{}) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-q.freed:
	case <-timer.C:
	case <-stop:
	}
}
