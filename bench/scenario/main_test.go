package scenario

import (
	"flag"
	"fmt"
	"os"
	"testing"

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
