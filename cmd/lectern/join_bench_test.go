package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lectern/cmd/lectern/internal/resources"
)

// BenchmarkJoin compares what it costs to accept a connection, upgrade it and let
// it join a room with a bare server that makes the same system calls and sends as
// many bytes, in turns: accept4, epoll_ctl, and two reads with a send after each.
// The clients are processes of their own. They keep at most joinWindow connections
// on their way, and begin again when all have joined. The figures are processor
// time of this process, user and system, for each connection. Leaving is measured
// apart from joining.
func BenchmarkJoin(b *testing.B) {
	const viewers = 4000
	workers := resources.Workers(0)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	resources.UseProcessors(workers) // as the relay does
	hall, addr, code := newEmptyHall(b, workers, overPlain)
	bare := newBareServer(b, hall.replies(code))
	crowds := [2]*joiners{startJoiners(b, viewers, bare.addr, "none"), startJoiners(b, viewers, addr, code)}
	var joined, left [2]time.Duration
	turn := func(which int) {
		before := processorTime()
		crowds[which].bring(b)
		between := processorTime()
		joined[which] += between - before
		crowds[which].drop(b)
		for hall.hub.Stats().Viewers > 0 || bare.conns.Load() > 0 {
			time.Sleep(time.Millisecond)
		}
		left[which] += processorTime() - between
	}
	turn(0) // the first turn of each grows memory
	turn(1)
	joined, left = [2]time.Duration{}, [2]time.Duration{}
	b.ResetTimer()
	for i := range 2 * b.N {
		turn((i + 1) / 2 % 2)
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(b.N*viewers) }
	b.ReportMetric(each(joined[0]), "bare-ns/join")
	b.ReportMetric(each(joined[1]), "relay-ns/join")
	b.ReportMetric(float64(joined[1])/float64(joined[0]), "relay/bare")
	b.ReportMetric(each(left[0]), "bare-ns/leave")
	b.ReportMetric(each(left[1]), "relay-ns/leave")
}

// replies returns the bytes with which the relay answers an upgrade and a join.
func (h *hall) replies(code string) (all [2][]byte) {
	onWorker(h.worker, func() bool {
		s := h.hub.NewSession(0, silent{})
		for i, request := range requests(code) {
			s.Receive(bytes.Clone(request))
			for p := s.Next(); len(p) > 0; p = s.Next() {
				all[i] = append(all[i], p...)
				s.Sent(len(p), false)
			}
		}
		s.Closed(io.EOF)
		return false
	})
	return all
}

// requests returns what a viewer sends to join.
func requests(code string) [2][]byte {
	return [2][]byte{[]byte(upgradeRequest("/")), masked(`{"type":"join","code":"` + code + `"}`)}
}

// A bareServer answers each of two reads with bytes that never change, and parses
// nothing.
type bareServer struct {
	addr    string
	replies [2][]byte
	conns   atomic.Int64
	stop    atomic.Bool
}

func newBareServer(b *testing.B, replies [2][]byte) *bareServer {
	b.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	// Most of the relay's options change nothing here; this one decides when an answer goes out.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		b.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		b.Fatal(err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		b.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		b.Fatal(err)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	s := &bareServer{addr: fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), replies: replies}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.serve(epoll, fd)
	}()
	b.Cleanup(func() {
		s.stop.Store(true)
		<-ended
		_ = unix.Close(epoll)
		_ = unix.Close(fd)
	})
	return s
}

func (s *bareServer) serve(epoll, listener int) {
	watch(epoll, listener, unix.EPOLLIN)
	events, buf := make([]unix.EpollEvent, 1024), make([]byte, 64<<10)
	var answered []uint8 // of each descriptor
	for !s.stop.Load() {
		n, _ := unix.EpollWait(epoll, events, 1000)
		for _, e := range events[:max(0, n)] {
			if int(e.Fd) != listener {
				if !s.answer(int(e.Fd), &answered[e.Fd], buf) {
					_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(e.Fd), 0, 0)
					s.conns.Add(-1)
				}
				continue
			}
			for {
				fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
				if errno != 0 {
					break
				}
				s.conns.Add(1)
				answered = slices.Grow(answered, int(fd)+1)[:max(len(answered), int(fd)+1)]
				answered[fd] = 0
				watch(epoll, int(fd), unix.EPOLLIN|unix.EPOLLET)
			}
		}
	}
}

func watch(epoll, fd int, events uint32) {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	_, _, _ = syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&event)), 0, 0)
}

// answer reads once and answers, and reports whether the connection goes on.
func (s *bareServer) answer(fd int, answered *uint8, buf []byte) bool {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 || n == 0 || int(*answered) == len(s.replies) {
		return errno == syscall.EAGAIN
	}
	*answered++
	return rawSend(fd, s.replies[*answered-1]) == 0
}

// joiners are clients in a process of their own.
type joiners struct {
	orders  io.Writer
	reports io.Reader
}

func startJoiners(b *testing.B, n int, addr, code string) *joiners {
	b.Helper()
	orders, reports := startProcess(b, joinersEnv, fmt.Sprintf("%d %s %s", n, addr, code))
	return &joiners{orders, reports}
}

func (j *joiners) bring(b *testing.B) { j.order(b, "join\n") }
func (j *joiners) drop(b *testing.B)  { j.order(b, "drop\n") }

func (j *joiners) order(b *testing.B, what string) {
	b.Helper()
	if _, err := io.WriteString(j.orders, what); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(j.reports, make([]byte, 1)); err != nil {
		b.Fatal("the clients have ended:", err)
	}
}

const (
	joinersEnv = "LECTERN_TEST_JOINERS"
	joinWindow = 256
)

// bringAndDrop is the process that startJoiners starts.
func bringAndDrop(arguments string) error {
	var n int
	var addr, code string
	if _, err := fmt.Sscan(arguments, &n, &addr, &code); err != nil {
		return err
	}
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	c := &clients{epoll: epoll, to: unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}, requests: requests(code)}
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		if orders.Text() == "drop" {
			for fd := range c.asked {
				_ = unix.Close(fd)
			}
		} else if err := c.join(n); err != nil {
			return err
		}
		if _, err := os.Stdout.Write([]byte{1}); err != nil {
			return err
		}
	}
	return nil
}

// clients are connections to one server.
type clients struct {
	epoll    int
	to       unix.SockaddrInet4
	requests [2][]byte
	asked    map[int]int // descriptors, and how many of the requests were sent
}

// join has n clients connect, and send each request when the one before is answered.
func (c *clients) join(n int) error {
	c.asked = make(map[int]int, n)
	events, buf := make([]unix.EpollEvent, 1024), make([]byte, 64<<10)
	for joined := 0; joined < n; {
		for len(c.asked) < n && len(c.asked)-joined < joinWindow {
			if err := c.connect(); err != nil {
				return err
			}
		}
		k, err := unix.EpollWait(c.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(0, k)] {
			fd := int(e.Fd)
			if asked := c.asked[fd]; asked > 0 {
				if k, err := unix.Read(fd, buf); err == unix.EAGAIN {
					continue
				} else if err != nil || k == 0 {
					return fmt.Errorf("a client was cut off after %d requests: %v", asked, err)
				}
			} else if e.Events&unix.EPOLLOUT == 0 {
				continue
			}
			if at := c.asked[fd]; at < len(c.requests) {
				if _, err := unix.Write(fd, c.requests[at]); err != nil {
					return os.NewSyscallError("write", err)
				}
			} else if at == len(c.requests) {
				joined++
			}
			c.asked[fd]++
		}
	}
	return nil
}

func (c *clients) connect() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &c.to); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	c.asked[fd] = 0
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET, Fd: int32(fd)}))
}
