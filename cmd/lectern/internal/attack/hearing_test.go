//go:build linux

package attack

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A hearing is how the innocent viewers were served for some time.
type hearing struct {
	deliveries    int
	p50, p99, max time.Duration // from when a broadcast was due to when it was there
	silence       time.Duration // the longest of any viewer
}

func (h hearing) String() string {
	return fmt.Sprintf("p50 %s p99 %s max %s silence %s", brief(h.p50), brief(h.p99), brief(h.max), brief(h.silence))
}

// brief writes a time with few digits.
func brief(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// take returns how the viewers were served since the last call. The silences
// that last still count too.
func (r *room) take() hearing {
	now := time.Now()
	r.mu.Lock()
	heard := r.heard
	r.heard = nil
	var h hearing
	if !r.quiet.Load() {
		for _, v := range r.viewers {
			if !v.last.IsZero() {
				h.silence = max(h.silence, now.Sub(v.last))
			}
		}
	}
	r.mu.Unlock()
	if len(heard) == 0 {
		return h
	}
	times := make([]time.Duration, len(heard))
	for i, d := range heard {
		times[i] = d.after
		h.silence = max(h.silence, d.gap)
	}
	slices.Sort(times)
	h.deliveries = len(times)
	h.p50, h.p99, h.max = times[len(times)/2], times[len(times)*99/100], times[len(times)-1]
	return h
}

// pause has the host say nothing until the function that it returns is called.
func (r *room) pause() (resume func()) {
	r.quiet.Store(true)
	return func() {
		r.mu.Lock()
		for _, v := range r.viewers {
			v.last = time.Time{} // that silence does not count
		}
		r.mu.Unlock()
		r.quiet.Store(false)
	}
}

// caughtUp reports whether every viewer has heard everything until now.
func (r *room) caughtUp() bool {
	said := r.said.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.viewers {
		if v.seq < said {
			return false
		}
	}
	return true
}

// finish has the host stop, waits until everybody has heard everything, and
// returns what went wrong since the beginning. It waits only while the relay
// lives.
func (r *room) finish(lives func() bool) []string {
	r.quiet.Store(true)
	time.Sleep(2 * broadcastEvery) // the one that is on its way
	for deadline := time.Now().Add(20 * time.Second); !r.caughtUp() && lives() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if !r.caughtUp() {
		behind, said := 0, r.said.Load()
		r.mu.Lock()
		for _, v := range r.viewers {
			if v.seq < said {
				behind++
			}
		}
		r.mu.Unlock()
		r.wrongs("%d viewers have not heard all %d broadcasts", behind, said)
	}
	return r.wrong()
}

const mostFaults = 3

func (r *room) wrongs(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) >= mostFaults {
		r.more++
		return
	}
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// wrong returns what went wrong.
func (r *room) wrong() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.faults)
	if r.more > 0 {
		all = append(all, fmt.Sprintf("and %d more", r.more))
	}
	return all
}

// close ends the room's connections and threads.
func (r *room) close() {
	r.stop.Store(true)
	if r.host != nil {
		_ = r.host.Close()
	}
	r.threads.Wait()
	for _, v := range r.viewers {
		_ = unix.Close(v.fd)
	}
	if r.epoll > 0 {
		_ = unix.Close(r.epoll)
	}
}
