package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A display shows how a run goes: a bar on a terminal, a line now and then
// otherwise.
type display struct {
	out      io.Writer // immutable
	terminal bool      // immutable
}

const (
	barEvery   = 150 * time.Millisecond // between two states of a bar
	plainEvery = 5 * time.Second        // between two lines where there is no terminal
)

func newDisplay(out io.Writer) *display {
	d := &display{out: out}
	if f, ok := out.(*os.File); ok {
		d.terminal = term.IsTerminal(int(f.Fd()))
	}
	return d
}

// say prints a line.
func (d *display) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// bar begins a part that is over when its value reaches all. It shows the value and
// the figures now and then, until the function that it returns is called with a line
// that says what came of it.
func (d *display) bar(name string, all int64, progress func() (value int64, figures string)) (finish func(outcome string)) {
	var bar *progressbar.ProgressBar
	interval := plainEvery
	if d.terminal {
		interval = barEvery
		bar = progressbar.NewOptions64(all, progressbar.OptionSetWriter(d.out), progressbar.OptionSetDescription(name),
			progressbar.OptionSetWidth(24), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionClearOnFinish())
	}
	stop := repeat(interval, func() {
		value, figures := progress()
		if bar == nil {
			d.say("%s: %d %%, %s", name, 100*value/max(all, 1), figures)
			return
		}
		bar.Describe(name + ": " + figures)
		_ = bar.Set64(min(value, all-1)) // at its end the bar would be cleared
	})
	return func(outcome string) {
		stop()
		if bar != nil {
			_ = bar.Clear()
		}
		d.say("%s: %s", name, outcome)
	}
}

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
