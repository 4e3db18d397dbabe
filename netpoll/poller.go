//go:build linux

package netpoll

import (
	"errors"
	"fmt"
	"sync"

	easygo "github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// An events is a set of epoll's events.
type events = easygo.EpollEvent

// The events of epoll_ctl(2) that a Conn looks at.
const (
	eventRead   events = easygo.EPOLLIN
	eventWrite  events = easygo.EPOLLOUT
	eventBroken events = easygo.EPOLLHUP | easygo.EPOLLERR
	eventHangup events = easygo.EPOLLRDHUP | eventBroken

	// eventClosed is what easygo passes to every callback when the epoll
	// itself is closed. It is not a bit of the kernel's.
	eventClosed events = 0x20
)

// A poller is an epoll instance and the goroutine that waits on it. It is the
// one place that knows easygo. Only the low-level Epoll is used: easygo's Desc
// duplicates the descriptor and puts the socket into blocking mode.
type poller struct {
	epoll *easygo.Epoll
}

// newPoller starts an epoll. The callbacks given to add run one after the
// other in its goroutine. failed is called once if waiting fails for good.
func newPoller(failed func(error)) (poller, error) {
	epoll, err := easygo.EpollCreate(&easygo.EpollConfig{OnWaitError: failed})
	if err != nil {
		return poller{}, fmt.Errorf("create epoll: %w", err)
	}
	return poller{epoll}, nil
}

// add registers fd, edge-triggered, for everything. The callback may run
// before add returns.
func (p poller) add(fd int, callback func(events)) error {
	err := p.epoll.Add(fd, easygo.EPOLLIN|easygo.EPOLLOUT|easygo.EPOLLRDHUP|easygo.EPOLLET, callback)
	if err != nil {
		// easygo keeps its entry even if epoll_ctl failed.
		return errors.Join(fmt.Errorf("register descriptor %d: %w", fd, err), ignoreMissing(p.epoll.Del(fd)))
	}
	return nil
}

// del forgets fd, which must still be open. A callback that was already on
// its way may yet run.
func (p poller) del(fd int) error { return p.epoll.Del(fd) }

// close ends the waiting goroutine. It must not be called from a callback.
func (p poller) close() error { return p.epoll.Close() }

func ignoreMissing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// An eventFD wakes a poller from any goroutine. It is registered
// edge-triggered and never read: each write is an edge of its own, and the
// counter would take centuries to fill.
type eventFD struct {
	mu sync.RWMutex
	fd int // guarded by mu; -1 once closed
}

func newEventFD() (*eventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	return &eventFD{fd: fd}, nil
}

func (e *eventFD) signal() {
	one := [8]byte{1}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.fd >= 0 {
		rawWrite(e.fd, one[:])
	}
}

func (e *eventFD) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fd >= 0 {
		_ = unix.Close(e.fd)
		e.fd = -1
	}
}
