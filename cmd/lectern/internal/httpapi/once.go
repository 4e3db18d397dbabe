package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// keepTime is for how long an Idempotency-Key gives the same answer.
	keepTime = 5 * time.Minute
	// maxKept bounds the answers that are kept, some 8 MiB of them. Beyond, new
	// keys are refused: to forget an old one could mean to broadcast twice.
	maxKept = 32_768
)

var (
	errKeptFull = &problem{http.StatusServiceUnavailable,
		"too many broadcasts had an Idempotency-Key within five minutes; try again, or without one"}
	errOtherBody = &problem{http.StatusUnprocessableEntity,
		"this Idempotency-Key came with another body within five minutes"}
)

// An attempt is a request with an Idempotency-Key, as hashes: of the room and
// the key, and of the body.
type attempt struct{ key, body [32]byte }

// keptAnswers are those to broadcasts that had an Idempotency-Key. Only what
// was broadcast is kept: whatever failed may be tried again. Its zero value is
// empty. Its methods may be called from anywhere.
type keptAnswers struct {
	mu     sync.Mutex
	all    map[[32]byte]*keptAnswer // guarded by mu; by the attempt's key
	oldest [][32]byte               // guarded by mu; those that are done, in the order of their times
	sweep  *time.Timer              // guarded by mu; while any is done
}

// A keptAnswer is first that of a request under way, and then done.
type keptAnswer struct {
	body [32]byte      // immutable
	done chan struct{} // immutable; closed when the fields below are set for good
	ok   bool
	seq  uint64
	at   time.Time
}

// once broadcasts, unless the same was done within the time: then it returns
// what was answered, and says so. Of several at once the others wait for the
// first, and if that fails, for another to try.
func (k *keptAnswers) once(ctx context.Context, what attempt, broadcast func() (uint64, error)) (seq uint64, again bool, err error) {
	for {
		its, first, err := k.enter(what)
		if err != nil {
			return 0, false, err
		}
		if first {
			seq, err = broadcast()
			k.finish(what.key, its, seq, err)
			return seq, false, err
		}
		select {
		case <-its.done:
		case <-ctx.Done():
			return 0, false, ctx.Err()
		}
		if its.ok {
			return its.seq, true, nil
		}
	}
}

// enter returns the answer to an attempt, and whether it is for the caller to
// give.
func (k *keptAnswers) enter(what attempt) (its *keptAnswer, first bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgetLocked()
	if its = k.all[what.key]; its != nil {
		if its.body != what.body {
			return nil, false, errOtherBody
		}
		return its, false, nil
	}
	if len(k.all) >= maxKept {
		return nil, false, errKeptFull
	}
	if k.all == nil {
		k.all = make(map[[32]byte]*keptAnswer)
	}
	its = &keptAnswer{body: what.body, done: make(chan struct{})}
	k.all[what.key] = its
	return its, true, nil
}

// finish notes what came of the first attempt.
func (k *keptAnswers) finish(key [32]byte, its *keptAnswer, seq uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	its.ok, its.seq, its.at = err == nil, seq, time.Now()
	close(its.done)
	if err != nil {
		delete(k.all, key)
		return
	}
	k.oldest = append(k.oldest, key)
	if k.sweep == nil {
		k.sweep = time.AfterFunc(keepTime, k.forget)
	}
}

// forget gives back what was kept, when nobody asks any more.
func (k *keptAnswers) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgetLocked()
	k.sweep = nil
	if len(k.oldest) > 0 {
		k.sweep = time.AfterFunc(keepTime-time.Since(k.all[k.oldest[0]].at), k.forget)
	}
}

// forgetLocked forgets those whose time has passed.
func (k *keptAnswers) forgetLocked() {
	for len(k.oldest) > 0 && time.Since(k.all[k.oldest[0]].at) >= keepTime {
		delete(k.all, k.oldest[0])
		k.oldest = k.oldest[1:]
	}
	if len(k.all) == 0 {
		k.all, k.oldest = nil, nil // a map never shrinks
	}
}
