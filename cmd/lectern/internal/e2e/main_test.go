package e2e

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if !*fullSize {
		_ = flag.Set("test.parallel", "8") // most tests that run at once wait for timeouts of their relays
	}
	os.Exit(Main(m))
}
