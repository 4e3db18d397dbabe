package engine

import (
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

// plainEvery is the time between two lines where there is no terminal.
const plainEvery = 5 * time.Second

func newDisplay(out io.Writer) *display {
	d := &display{out: out}
	if f, ok := out.(*os.File); ok {
		d.terminal = term.IsTerminal(int(f.Fd()))
	}
	return d
}

// say prints a line.
func (d *display) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// A bar is one part of a run on its way. Its methods are called one after the
// other.
type bar struct {
	show *display
	name string
	all  int64
	bar  *progressbar.ProgressBar // nil without a terminal
	last time.Time                // of the last plain line
}

// bar begins a part that is over when its value reaches all.
func (d *display) bar(name string, all int64) *bar {
	b := &bar{show: d, name: name, all: all, last: time.Now()}
	if d.terminal {
		b.bar = progressbar.NewOptions64(all, progressbar.OptionSetWriter(d.out), progressbar.OptionSetDescription(name),
			progressbar.OptionSetWidth(24), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return b
}

// set shows the value and the running figures.
func (b *bar) set(value int64, figures string) {
	if b.bar != nil {
		b.bar.Describe(b.name + ": " + figures)
		_ = b.bar.Set64(min(value, b.all-1)) // at its end the bar would be cleared
		return
	}
	if time.Since(b.last) >= plainEvery {
		b.last = time.Now()
		b.show.say("%s: %d %%, %s", b.name, 100*value/max(b.all, 1), figures)
	}
}

// close ends the part with a line that says what came of it.
func (b *bar) close(outcome string) {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	b.show.say("%s: %s", b.name, outcome)
}
