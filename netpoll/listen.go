//go:build linux

package netpoll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFull is passed to Failed when a pool has as many connections as MaxConns
// permits, and accept waits.
var ErrFull = errors.New("netpoll: all permitted connections are in use")

// acceptRetry is how long the accept loop waits when connections, descriptors or
// memory have run out, before it looks again.
const acceptRetry = 100 * time.Millisecond

// shortageOver is how long descriptors must have sufficed before another shortage
// is reported to Failed.
const shortageOver = time.Minute

// SocketOptions are set on a listener and inherited by what it accepts. The
// zero value of each field means its default.
type SocketOptions struct {
	// NotSentLowat bounds the bytes that the kernel holds for a socket beyond
	// what is in flight (TCP_NOTSENT_LOWAT): a viewer that does not read costs
	// the kernel about this much, while a fast one far away still gets a large
	// window. Default 16 KiB.
	NotSentLowat int
	// SendBuffer sets SO_SNDBUF in bytes. Default: the kernel's own tuning.
	SendBuffer int
	// UserTimeout gives up a peer that does not acknowledge what was sent
	// (TCP_USER_TIMEOUT). Default 60 s.
	UserTimeout time.Duration
	// KeepAlive is the time of silence before the kernel probes a peer
	// (TCP_KEEPIDLE); it finds those that vanished without a word although
	// nothing is sent to them. For every few connections it is drawn anew between
	// three fifths of this and all of it, in whole seconds: thousands that fell
	// silent together are not probed in one burst, of which the kernel would drop
	// what its backlog does not hold. Default 45 s.
	KeepAlive time.Duration
	// Mode is the mode of a Unix-domain socket's file. The other options are for TCP
	// only. Default 0660.
	Mode os.FileMode
}

func (o SocketOptions) withDefaults() SocketOptions {
	if o.NotSentLowat <= 0 {
		o.NotSentLowat = 16 << 10
	}
	if o.UserTimeout <= 0 {
		o.UserTimeout = time.Minute
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 45 * time.Second
	}
	if o.Mode == 0 {
		o.Mode = 0o660
	}
	return o
}

// idle returns the longest TCP_KEEPIDLE in seconds.
func (o SocketOptions) idle() int { return max(1, int(o.KeepAlive.Seconds())) }

// set applies the options to a socket.
func (o SocketOptions) set(fd int) error {
	settings := []struct {
		name              string
		level, opt, value int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout.Milliseconds())},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, o.idle()},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5},
		{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer},
	}
	for _, s := range settings {
		if s.opt == unix.SO_SNDBUF && s.level == unix.SOL_SOCKET && s.value <= 0 {
			continue
		}
		if err := unix.SetsockoptInt(fd, s.level, s.opt, s.value); err != nil {
			return fmt.Errorf("set %s to %d: %w", s.name, s.value, os.NewSyscallError("setsockopt", err))
		}
	}
	return nil
}

// A Listener is a listening socket. Listen and Inherit make one.
type Listener struct {
	file   *os.File                          // immutable
	addr   net.Addr                          // immutable
	path   string                            // immutable; file that Close removes, empty for none
	idle   int                               // immutable; TCP_KEEPIDLE in seconds, 0 without TCP
	accept func(fd int) (int, syscall.Errno) // immutable once served
	closed atomic.Bool
}

// Listen opens a listener whose connections carry the options: a TCP listener, or a
// Unix-domain socket if addr begins with [UnixPrefix]. The backlog is the system's
// net.core.somaxconn.
func Listen(ctx context.Context, addr string, options SocketOptions) (*Listener, error) {
	options = options.withDefaults()
	if path, ok := strings.CutPrefix(addr, UnixPrefix); ok {
		l, err := ListenUnix(ctx, path, options.Mode)
		if err != nil {
			return nil, err
		}
		l.SetUnlinkOnClose(false) // the descriptor lives on in the file
		return newListener(l, path, 0)
	}
	config := net.ListenConfig{
		KeepAlive: -1, // set by the options
		Control: func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) { set = options.set(int(fd)) })
			return errors.Join(err, set)
		},
	}
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return newListener(l, "", options.idle())
}

// newListener takes over the socket of l.
func newListener(l net.Listener, path string, idle int) (*Listener, error) {
	defer l.Close()
	// A net.Listener does not let its descriptor be waited for; a file does.
	file, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Addr(), err)
	}
	return &Listener{file: file, addr: l.Addr(), path: path, idle: idle, accept: accept}, nil
}

// Addr returns the address that the listener is bound to.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close stops listening, which ends [Pool.Serve], and removes the file of a Unix-domain
// socket that Listen made. Further calls do nothing.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	var err error
	if l.path != "" { // before another relay can take the path
		err = os.Remove(l.path)
	}
	return errors.Join(err, l.file.Close())
}

// Serve accepts connections from l and spreads them over the workers. It
// returns when l or the pool is closed: nil for either, or the error that made
// accepting impossible. It closes l.
func (p *Pool) Serve(l *Listener, open OpenFunc) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("serve %s: %w", l.addr, err)
	}
	served := make(chan struct{})
	defer close(served)
	if !p.goUnlessClosed(func() {
		select {
		case <-p.stop:
		case <-served:
		}
		_ = l.Close()
	}) {
		_ = l.Close()
		return nil
	}

	var fatal error
	accepted := 0
	var short time.Time // when there were last no connections or descriptors to be had
	shortOf := func(what error) {
		// Descriptors come free and run out again within moments, which is still the
		// same shortage.
		now := time.Now()
		reported := !short.IsZero() && now.Sub(short) < shortageOver
		if short = now; !reported {
			p.failed(fmt.Errorf("accept on %s waits: %w", l.addr, what))
		}
		p.quota.wait(acceptRetry, p.stop)
	}
	err = raw.Read(func(fd uintptr) (done bool) {
		for !l.closed.Load() { // connections may keep coming after Close
			if !p.quota.take() {
				shortOf(ErrFull)
				continue
			}
			conn, errno := l.accept(int(fd))
			if errno == 0 {
				if accepted++; accepted%redraw == 0 {
					l.drawIdle(int(fd))
				}
				w := p.leastBusy()
				w.stats.accepted.Add(1)
				w.adopt(arrival{fd: conn, open: open})
				continue
			}
			p.quota.give()
			switch errno {
			case syscall.EAGAIN:
				return false // wait for the next one
			case syscall.EINTR, syscall.ECONNABORTED, syscall.EPROTO:
			case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
				shortOf(os.NewSyscallError("accept4", errno))
			default:
				fatal = os.NewSyscallError("accept4", errno)
				return true
			}
		}
		return true
	})
	if fatal != nil {
		return fmt.Errorf("serve %s: %w", l.addr, fatal)
	}
	if err != nil && !l.closed.Load() {
		return fmt.Errorf("serve %s: %w", l.addr, err)
	}
	return nil
}

// redraw is how many connections in a row have the same TCP_KEEPIDLE.
const redraw = 16

// drawIdle draws the TCP_KEEPIDLE of the connections that come next.
func (l *Listener) drawIdle(fd int) {
	if spread := l.idle - l.idle*3/5; spread > 0 {
		setInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int32(l.idle-rand.IntN(spread+1)))
	}
}
