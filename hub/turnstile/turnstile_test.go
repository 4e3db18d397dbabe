package turnstile

import (
	"slices"
	"testing"
)

// TestTheRestWaitsInOrder submits more functions than may run at a time.
func TestTheRestWaitsInOrder(t *testing.T) {
	var started []func()
	s := New(2, func(f func()) { started = append(started, f) })
	var ran []int
	for i := range 5 {
		s.Do(func() { ran = append(ran, i) })
	}
	if len(started) != 2 || ran != nil {
		t.Fatalf("%d run at a time, and %v ran", len(started), ran)
	}
	started[1]() // and all that wait
	started[0]()
	if want := []int{1, 2, 3, 4, 0}; !slices.Equal(ran, want) {
		t.Errorf("they ran in the order %v, want %v", ran, want)
	}
	s.Do(func() {})
	if len(started) != 3 {
		t.Error("a free turnstile does not run what comes")
	}
}
