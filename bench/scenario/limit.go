package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"lectern/bench/engine"
	"lectern/bench/workload"
	"lectern/frame"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Limit measures the kernel's share of a delivery. In place of a server it
// starts a process that passes each message on with one raw send to each
// socket, on all processors, and does nothing else. A server that sends each
// message by itself stays above it. A server that is behind and sends several
// messages at once may fall below.
type Limit struct {
	// Sender is the command of that process, {addr} in it stands for host:port;
	// default: this program's hidden command. It must call [SendLimit].
	Sender []string
}

// Name returns the scenario's name.
func (Limit) Name() string { return "limit" }

// Defaults returns the scenario's own defaults.
func (Limit) Defaults() workload.Options { return Fanout{}.Defaults() }

// Prepare checks the options, and has the run start the sender.
func (l Limit) Prepare(o *workload.Options) (setup engine.Setup, err error) {
	switch {
	case o.Rooms != 1 || len(o.RoomNames) > 0:
		return setup, workload.Refuse("limit has one room of its own")
	case o.Clock != workload.Monotonic:
		return setup, workload.Refuse("limit runs on one machine: its clock is %q", workload.Monotonic)
	case o.Transport != workload.WS || o.Compress:
		return setup, workload.Refuse("limit has a server of its own, which speaks WebSocket and does not compress")
	case o.Serve || o.PID != 0:
		return setup, workload.Refuse("limit measures its own sender: no server takes part")
	}
	if o.ServerCommand = l.Sender; o.ServerCommand == nil {
		self, err := os.Executable()
		if err != nil {
			return setup, fmt.Errorf("find this program: %w", err)
		}
		o.ServerCommand = []string{self, "bench", "limit-sender", "{addr}"}
	}
	o.Serve, o.URL = true, "ws://127.0.0.1:1/"
	o.Template = workload.Template{Name: "limit", Publish: workload.PayloadMark, Verbatim: true}
	return setup, nil
}

// Run measures one phase.
func (Limit) Run(ctx context.Context, r *engine.Runner) error {
	if err := r.Gather(ctx, "connect", r.Options.Viewers); err != nil {
		return err
	}
	return measure(ctx, r, r.Plan("limit"))
}

const (
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
	config := net.ListenConfig{KeepAlive: -1} // a timer for each socket would be no part of sending
	listener, err := config.Listen(context.Background(), "tcp", addr)
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
		n, err := host.Read(buf)
		if err != nil {
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

// accept returns the next connection that becomes a WebSocket. What it says before
// the upgrade is answered is lost; the bench says nothing.
func accept(listener net.Listener) (net.Conn, error) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil, err
		}
		_ = conn.SetDeadline(time.Now().Add(requestLimit))
		if _, err = ws.Upgrade(conn); err == nil {
			return conn, conn.SetDeadline(time.Time{})
		}
		_ = conn.Close()
	}
}

// plain returns the descriptor of a connection without the connection: that is
// registered with the runtime's poller, which costs each send.
func plain(conn net.Conn) (fd int, err error) {
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := raw.Control(func(its uintptr) { fd, err = unix.Dup(int(its)) })
	return fd, errors.Join(failed, err)
}

// A rawSender is the loop that everything is compared with.
type rawSender struct {
	mu    sync.Mutex
	fds   []int // guarded by mu; -1 where the viewer has gone
	frame []byte
}

// welcome takes the viewers.
func (s *rawSender) welcome(listener net.Listener) {
	for {
		fd := -1
		conn, err := accept(listener)
		if err == nil {
			fd, err = plain(conn)
		}
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
