package registry

import (
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub/roomcode"
)

// codes returns a function that draws these codes one after the other.
func codes(texts ...string) func() roomcode.Code {
	return func() roomcode.Code {
		c, _ := roomcode.Parse(texts[0])
		texts = texts[1:]
		return c
	}
}

// TestARoomGetsTheFirstFreeCode checks that no room gets the code of one that is
// open, sleeps, or was closed within RestTime.
func TestARoomGetsTheFirstFreeCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const a, b, c = "AAAAAA", "BBBBBB", "CCCCCC"
		first, second, third := new(int), new(int), new(int)
		closed, free := codes(a)(), codes(c)()
		g := New[int]()
		g.Sleep([]string{b, "no code"}, func(string) {})
		if !g.Add(first, 3, codes(b, a)) || g.Lookup(closed) != first || g.Open() != 2 {
			t.Fatalf("there are %d rooms", g.Open())
		}
		g.Remove(closed)
		if g.Lookup(closed) != nil || !g.Rested(closed) {
			t.Error("a closed room is there")
		}
		if !g.Add(second, 2, codes(a, b, c)) || g.Lookup(free) != second {
			t.Error("the free code was not taken")
		}
		if g.Add(third, 2, codes()) {
			t.Error("a third room fits although two are the most")
		}
		time.Sleep(RestTime + 1)
		if !g.Add(third, 3, codes(a)) || g.Rested(closed) {
			t.Error("the code rests for more than RestTime")
		}
		if page, more := g.Page(closed, 1); len(page) != 1 || page[0].Code != codes(b)() || !more {
			t.Errorf("the codes behind %s are %v, %v", a, page, more)
		}
		g.Lost(codes(b)())
		if r, sleeps := g.Find(codes(b)()); r != nil || sleeps || g.Open() != 2 {
			t.Error("a lost room is there")
		}
	})
}
