//go:build linux

package netpoll

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// While a worker has work again and again it is kept warm: woken every
// warmEvery although there is nothing to do. The Go runtime takes its P away
// from a thread that waits in a system call for 10 ms, and its monitor thread,
// which then begins anew to look every 20 us, costs more than the waking does:
// 14 % of all the processor time that 50 broadcasts a second to 1,000 viewers
// took. The runtime spares waiting threads only as long as a P is idle, so there
// should be one P more than workers, see runtime.GOMAXPROCS.
const (
	warmEvery = 6 * time.Millisecond
	warmFor   = time.Second // after the last task
)

// A warmer is a timer in a worker's epoll.
type warmer struct {
	fd    int
	armed bool   // owned by the turn
	until uint32 // owned by the turn; the worker's coarse time
}

func newWarmer() (warmer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return warmer{}, fmt.Errorf("create timerfd: %w", err)
	}
	return warmer{fd: fd}, nil
}

// rearm is called at the end of a turn, with whether it ran a task. The timer
// fires once each time; as its descriptor is registered edge-triggered it need
// not be read.
func (t *warmer) rearm(now uint32, worked bool) {
	if worked {
		t.until = now + uint32(warmFor.Milliseconds())
	}
	if t.armed || int32(t.until-now) <= 0 {
		return
	}
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(warmEvery.Nanoseconds())}
	t.armed = unix.TimerfdSettime(t.fd, 0, &once, nil) == nil
}

func (t *warmer) close() { _ = unix.Close(t.fd) }
