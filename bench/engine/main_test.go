package engine

import (
	"testing"
	"unsafe"
)

// TestViewerIsSmall keeps 20,000 viewers from pushing each other out of the
// cache.
func TestViewerIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(viewer{}); n > 200 {
		t.Errorf("a viewer takes %d bytes", n)
	}
}
