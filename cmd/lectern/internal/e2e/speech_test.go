package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"lectern/hub"
)

// A longSpeech is a script that goes on until no viewer is away any more.
type longSpeech struct {
	says  script
	every time.Duration // a message
	reach []mark
	away  atomic.Int64  // who has not come back
	said  atomic.Uint64 // messages
}

// A mark is closed when so many bytes are said.
type mark struct {
	bytes  int
	passed chan struct{}
}

// speak says the script and its end. After the last mark it goes on at a tenth of the
// pace, so that viewers that come back can catch up.
func (l *longSpeech) speak(t *testing.T, host *websocket.Conn) error {
	marks := l.reach
	defer func() {
		for _, m := range marks { // it has failed
			close(m.passed)
		}
	}()
	ticker := time.NewTicker(l.every)
	defer ticker.Stop()
	for ; len(marks) > 0 || l.away.Load() > 0; <-ticker.C {
		n := l.said.Load() + 1
		if err := host.Write(t.Context(), websocket.MessageText, []byte(l.says.message(n))); err != nil {
			return err
		}
		l.said.Store(n)
		if len(marks) > 0 && int(n)*l.says.size >= marks[0].bytes {
			close(marks[0].passed)
			if marks = marks[1:]; len(marks) == 0 {
				ticker.Reset(10 * l.every)
			}
		}
	}
	return host.Write(t.Context(), websocket.MessageText, []byte("{"+theEnd))
}

// peaks are the largest figures of a relay while a crowd is there.
type peaks struct {
	b          *binary
	heapBefore float64
	heap, logs float64
	stalled    float64
	rss        int // KiB
	closes     []string
	ended      chan error // takes how the speech ended
}

func newPeaks(b *binary) *peaks {
	return &peaks{b: b, heapBefore: b.metric("go_memstats_heap_inuse_bytes"), ended: make(chan error, 1)}
}

// watch samples the figures until all viewers have gone and the speech is over.
func (p *peaks) watch(t *testing.T, hall *crowd) {
	t.Helper()
	gone := make(chan struct{})
	go func() { hall.all.Wait(); close(gone) }()
	for {
		p.heap = max(p.heap, p.b.metric("go_memstats_heap_inuse_bytes"))
		p.logs = max(p.logs, p.b.metric("lectern_log_bytes"))
		p.stalled = max(p.stalled, p.b.metric("lectern_viewers_stalled"))
		p.rss = max(p.rss, p.b.status("VmRSS"))
		select {
		case <-gone:
			p.closes = p.b.closes()
			if err := <-p.ended; err != nil {
				t.Error(err)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *peaks) String() string {
	return fmt.Sprintf("heap %.1f MB before and %.1f MB at most, logs %.1f MB, %.0f stalled, %d MB resident; closed: %s",
		p.heapBefore/1e6, p.heap/1e6, p.logs/1e6, p.stalled, p.rss>>10, strings.Join(p.closes, ", "))
}

// closes returns how many connections have ended, by reason.
func (b *binary) closes() (all []string) {
	b.t.Helper()
	for _, why := range hub.Reasons() {
		if n := b.metric(`lectern_closes_total{reason="` + why.String() + `"}`); n > 0 {
			all = append(all, fmt.Sprintf("%s %.0f", why, n))
		}
	}
	return all
}
