package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// keepTime is how long an Idempotency-Key repeats an answer.
	keepTime = 5 * time.Minute
	// maxKept bounds the kept answers, which take some 8 MiB. When they are full, new
	// keys are refused, because forgetting an old key could repeat its broadcast.
	maxKept = 32_768
)

var (
	errKeptFull = &problem{http.StatusServiceUnavailable,
		"too many broadcasts had an Idempotency-Key within five minutes; try again, or without one"}
	errOtherBody = &problem{http.StatusUnprocessableEntity,
		"this Idempotency-Key came with another body within five minutes"}
)

// A keyedRequest is a request with an Idempotency-Key: the hash of the room and the
// key, and the hash of the body.
type keyedRequest struct{ key, body [32]byte }

// keptAnswers are the answers to broadcasts with an Idempotency-Key. Failures are not
// kept, so that they can be tried again. The zero value is empty. Its methods may be
// called from anywhere.
type keptAnswers struct {
	mu     sync.Mutex
	all    map[[32]byte]*keptAnswer // guarded by mu; by the request's key
	oldest [][32]byte               // guarded by mu; keys of the finished answers, oldest first
	sweep  *time.Timer              // guarded by mu; nil while there is no finished answer
}

// A keptAnswer belongs to a request under way until done is closed.
type keptAnswer struct {
	body [32]byte      // immutable
	done chan struct{} // immutable; closed when the fields below are set for good
	ok   bool
	seq  uint64
	at   time.Time
}

// once broadcasts, unless it did so for the same request within keepTime: then it
// returns that answer, and again is true. Of several requests at once the first
// broadcasts and the others wait for it; if it fails, the next one tries.
func (k *keptAnswers) once(ctx context.Context, what keyedRequest, broadcast func() (uint64, error)) (seq uint64, again bool, err error) {
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

// enter returns the answer to a request. If first is true, the caller has to
// broadcast and to call finish.
func (k *keptAnswers) enter(what keyedRequest) (its *keptAnswer, first bool, err error) {
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

// finish stores the result of the first request, or forgets a failure.
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

// forget drops old answers while no requests come.
func (k *keptAnswers) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgetLocked()
	k.sweep = nil
	if len(k.oldest) > 0 {
		k.sweep = time.AfterFunc(keepTime-time.Since(k.all[k.oldest[0]].at), k.forget)
	}
}

// forgetLocked drops the answers older than keepTime.
func (k *keptAnswers) forgetLocked() {
	for len(k.oldest) > 0 && time.Since(k.all[k.oldest[0]].at) >= keepTime {
		delete(k.all, k.oldest[0])
		k.oldest = k.oldest[1:]
	}
	if len(k.all) == 0 {
		k.all, k.oldest = nil, nil // a map never shrinks
	}
}
