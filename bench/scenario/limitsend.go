package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"lectern/bench/workload"
	"lectern/frame"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

const (
	// backlog is as long as the kernel allows (net.core.somaxconn).
	backlog = 1 << 16

	// requestLimit is how long a connection may take to ask for its upgrade.
	requestLimit = 10 * time.Second

	// afterHost is how long the process stays once its host has gone. The bench
	// ends it before, unless the bench itself was killed.
	afterHost = 10 * time.Second
)

// SendLimit is the process that the [Limit] scenario starts. It listens at addr,
// takes the first WebSocket connection for the host, and sends what the host
// says to all others.
func SendLimit(addr string) error {
	listener, err := listenRaw(addr)
	if err != nil {
		return err
	}
	host, err := accept(listener)
	if err != nil {
		return err
	}
	s := &rawSender{}
	go s.welcome(listener) // ends with the process
	messages := frame.Assembler{Limit: workload.MaxSize}
	buf := make([]byte, 256<<10)
	for {
		n, err := unix.Read(host, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil || n == 0:
			time.Sleep(afterHost)
			return nil
		}
		for m := range messages.Feed(buf[:n]) {
			if m.Op == ws.OpText {
				s.sendAll(m.Payload)
			}
		}
		if err := messages.Err(); err != nil {
			return err
		}
	}
}

// listenRaw listens on a plain descriptor: a net.Conn's would be registered with
// the runtime's poller, which costs each send.
func listenRaw(addr string) (fd int, err error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return -1, err
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, os.NewSyscallError("listen", unix.Listen(fd, backlog))
}

// accept returns the next connection that becomes a WebSocket.
func accept(listener int) (fd int, err error) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return -1, os.NewSyscallError("accept4", err)
		}
		if upgrade(fd) == nil {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
}

// upgrade answers the handshake of a connection.
func upgrade(fd int) error {
	limit := unix.NsecToTimeval(int64(requestLimit))
	err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if err != nil {
		return err
	}
	var handshake frame.Handshake
	buf := make([]byte, frame.DefaultMaxHead)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil || n == 0 {
			return fmt.Errorf("the connection ended before its handshake: %w", err)
		}
		switch handshake.Feed(buf[:n]) {
		case frame.Pending:
		case frame.Upgrade:
			_, err := unix.Write(fd, handshake.Reply())
			return err
		default:
			return errors.New("no WebSocket")
		}
	}
}

// A rawSender is the loop that everything is compared with.
type rawSender struct {
	mu    sync.Mutex
	fds   []int // guarded by mu; -1 where the viewer has gone
	frame []byte
}

// welcome takes the viewers.
func (s *rawSender) welcome(listener int) {
	for {
		fd, err := accept(listener)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		s.mu.Lock()
		s.fds = append(s.fds, fd)
		s.mu.Unlock()
	}
}

// sendAll sends a message to all viewers, on all processors as a server would: if
// one of them were left to the receivers, each send would wake a receiver there,
// which costs more than the send itself saves.
func (s *rawSender) sendAll(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frame = frame.AppendFrame(s.frame[:0], ws.OpText, text)
	var group sync.WaitGroup
	n := runtime.NumCPU()
	for i := range n {
		group.Go(func() { s.sendEach(i, n) })
	}
	group.Wait()
}

// sendEach sends the frame to each n-th connection, as servers deal connections
// out to their threads.
func (s *rawSender) sendEach(first, n int) {
	for i := first; i < len(s.fds); i += n {
		if fd := s.fds[i]; fd >= 0 && !sendWhole(fd, s.frame) {
			_ = unix.Close(fd)
			s.fds[i] = -1
		}
	}
}

// sendWhole sends p, waiting where the socket is full. It reports whether the
// connection still stands.
func sendWhole(fd int, p []byte) bool {
	for len(p) > 0 {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			p = p[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			if n, err := unix.Poll(fds, 1000); n == 0 && err == nil {
				return false // a second without reading: the receiver is gone
			}
		default:
			return false
		}
	}
	return true
}
