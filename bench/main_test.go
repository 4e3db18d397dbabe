package bench

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
)

// senderEnv makes the test binary the child of the limit scenario.
const senderEnv = "LECTERN_TEST_SENDER"

func TestMain(m *testing.M) {
	if os.Getenv(senderEnv) != "" {
		if err := SendLimit(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // most tests wait for messages that are not yet due
	goleak.VerifyTestMain(m)
}

// TestViewerIsSmall keeps 20,000 viewers from pushing each other out of the
// cache.
func TestViewerIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(viewer{}); n > 200 {
		t.Errorf("a viewer takes %d bytes", n)
	}
}
