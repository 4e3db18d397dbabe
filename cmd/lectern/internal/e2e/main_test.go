package e2e

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	switch { // most tests that run at once wait for timeouts of their relays
	case *fullSize:
	case raced:
		_ = flag.Set("test.parallel", "4")
	default:
		_ = flag.Set("test.parallel", "12")
	}
	status := Main(m)
	endBrowser()
	os.Exit(status)
}
