package engine

import (
	"context"
	"time"
)

// sleep waits for d, or for ctx to end.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forever is the limit of a wait that ends for other reasons.
const forever = 365 * 24 * time.Hour

// until waits for a condition, for at most limit. It returns an error only if ctx
// ends before.
func until(ctx context.Context, limit time.Duration, met func() bool) error {
	for deadline := time.Now().Add(limit); !met() && time.Now().Before(deadline); {
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// repeat calls f at an interval until the function that it returns is called.
func repeat(interval time.Duration, f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
