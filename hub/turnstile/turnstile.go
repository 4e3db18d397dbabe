// Package turnstile bounds how many pieces of work run at the same time.
package turnstile

import "sync"

// A Turnstile runs functions in goroutines, a limited number at a time and in
// the order in which they came. A caller that submits repeatedly must have only
// one function in the turnstile at a time, so that all callers make progress.
// Methods may be called from any goroutine.
type Turnstile struct {
	run   func(f func()) // immutable; runs a function in a goroutine
	limit int            // immutable

	mu      sync.Mutex
	running int      // guarded by mu
	waiting []func() // guarded by mu
}

// New returns a Turnstile that runs up to limit functions at a time. run runs a
// function in a goroutine.
func New(limit int, run func(f func())) *Turnstile { return &Turnstile{run: run, limit: limit} }

// Do runs f when its turn comes. It does not block.
func (t *Turnstile) Do(f func()) {
	t.mu.Lock()
	if t.running >= t.limit {
		t.waiting = append(t.waiting, f)
		t.mu.Unlock()
		return
	}
	t.running++
	t.mu.Unlock()
	t.run(func() { t.work(f) })
}

// work runs f and then the functions that wait.
func (t *Turnstile) work(f func()) {
	for f != nil {
		f()
		t.mu.Lock()
		if f = nil; len(t.waiting) > 0 {
			f = t.waiting[0]
			t.waiting[0] = nil
			if t.waiting = t.waiting[1:]; len(t.waiting) == 0 {
				t.waiting = nil
			}
		} else {
			t.running--
		}
		t.mu.Unlock()
	}
}
