package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// feedings is how often the watchdog is fed within its time.
const feedings = 3

// FeedWatchdog feeds the manager's watchdog until ctx ends, each time after works has
// returned. So works must return only when the service has shown that it works; while
// it does not, the watchdog starves and the manager restarts the service. FeedWatchdog
// returns at once if there is no watchdog.
func FeedWatchdog(ctx context.Context, works func(context.Context) error) error {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("systemd: watchdog: %w", err)
	}
	if patience == 0 {
		return nil
	}
	ticker := time.NewTicker(patience / feedings)
	defer ticker.Stop()
	for {
		if works(ctx) != nil {
			return nil // ctx has ended
		}
		if err := notify("WATCHDOG=1"); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
