package hub

import (
	"testing"
	"unsafe"
)

// TestASessionFitsItsSizeClass holds it to 96 bytes: one more, and the allocator
// gives each viewer 112.
func TestASessionFitsItsSizeClass(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 96 {
		t.Errorf("a session has %d bytes", n)
	}
}
