package address

import (
	"net/netip"
	"testing"
)

// TestTheTableFreesItsMemoryWithItsLastEntry checks that an entry lives as long
// as a connection or a room refers to it, and that indexes are used again.
func TestTheTableFreesItsMemoryWithItsLastEntry(t *testing.T) {
	var a Table
	pupil, neighbour, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.1")
	at, n := a.Connect(pupil)
	again, m := a.Connect(neighbour)
	if at == 0 || again != at || n != 1 || m != 2 || a.Of(at) != pupil {
		t.Fatalf("two of one /64 are entries %d and %d with %d and %d connections", at, again, n, m)
	}
	second, _ := a.Connect(other)
	if !a.OpenRoom(at, 1) || a.OpenRoom(at, 1) {
		t.Error("one room is not the most")
	}
	a.Disconnect(at)
	a.Disconnect(at)
	if a.Len() != 2 {
		t.Errorf("%d addresses, the first has a room", a.Len())
	}
	a.CloseRoom(at)
	if third, _ := a.Connect(pupil); third != at {
		t.Errorf("entry %d is free, got %d", at, third)
	}
	a.Disconnect(at)
	a.Disconnect(second)
	if a.Len() != 0 || a.entries != nil || a.free != nil {
		t.Errorf("the empty table keeps %d entries", len(a.entries))
	}
	if none, n := a.Connect(netip.Addr{}); none != 0 || n != 0 || !a.OpenRoom(none, 0) {
		t.Error("an invalid address is counted")
	}
}
