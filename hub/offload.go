package hub

import "sync"

// A turnstile runs functions in goroutines, a limited number at a time, in the
// order in which they came. Whoever may come more than once must not be in it
// twice: then everybody's turn comes. Its methods may be called from anywhere.
type turnstile struct {
	run   func(f func()) // immutable; runs a function in a goroutine
	limit int            // immutable

	mu      sync.Mutex
	running int      // guarded by mu
	waiting []func() // guarded by mu
}

// do has f run when its turn comes.
func (t *turnstile) do(f func()) {
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

// work runs f and then those that wait.
func (t *turnstile) work(f func()) {
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
