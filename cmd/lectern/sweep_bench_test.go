package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"lectern/frame"
	"lectern/hub"
	"lectern/netpoll"
)

// BenchmarkSweep compares what it costs to deliver a broadcast through the hub
// and the reactor with the bare loop of send calls that nobody can do without,
// in turns: the same payload, as many sockets, and the loop and all receivers in
// processes of their own, which have a limit of descriptors each. A second hall
// has viewers that read event streams, and a third has its viewers behind TLS 1.3;
// 19,000 in each would be more descriptors than one process may have. The figures are processor time of the sending process,
// user and system, for each delivery. The next message is not published before
// the last viewer's socket has taken the one before, so that no send carries two.
func BenchmarkSweep(b *testing.B) {
	message := fmt.Appendf(nil, `{"type":"command","data":"%s"}`, strings.Repeat("x", 220))
	for viewers, others := range map[int]bool{1000: true, 3000: true, 19000: false} {
		b.Run(fmt.Sprint(viewers), func(b *testing.B) {
			raw := newRawLoop(b, viewers, len(frame.AppendFrame(nil, ws.OpText, message)))
			ways := []func() time.Duration{func() time.Duration { return raw.send(b) }, newHall(b, viewers, string(message), overPlain).publish}
			if others {
				ways = append(ways, newHall(b, viewers, string(message), overEvents).publish, newHall(b, viewers, string(message), overTLS).publish)
			}
			spent := make([]time.Duration, len(ways))
			b.ResetTimer()
			for i := range b.N {
				for turn := range ways {
					which := (i + turn) % len(ways) // none is always the first
					spent[which] += ways[which]()
				}
			}
			deliveries := float64(b.N * viewers)
			b.ReportMetric(float64(spent[0])/deliveries, "raw-ns/delivery")
			b.ReportMetric(float64(spent[1])/deliveries, "sweep-ns/delivery")
			b.ReportMetric(float64(spent[1])/float64(spent[0]), "sweep/raw")
			if others {
				b.ReportMetric(float64(spent[2])/deliveries, "events-ns/delivery")
				b.ReportMetric(float64(spent[2])/float64(spent[1]), "events/sweep")
				b.ReportMetric(float64(spent[3])/deliveries, "tls-ns/delivery")
				b.ReportMetric(float64(spent[3])/float64(spent[1]), "tls/sweep")
			}
		})
	}
}

// A rawLoop is a process with as many sockets as there are viewers, and nothing
// around them.
type rawLoop struct {
	orders io.Writer
	spent  *bufio.Reader
}

func newRawLoop(b *testing.B, viewers, size int) *rawLoop {
	b.Helper()
	orders, reports := startProcess(b, rawLoopEnv, fmt.Sprintf("%d %d", viewers, size))
	r := &rawLoop{orders, bufio.NewReader(reports)}
	addr, err := r.spent.ReadString('\n')
	if err != nil {
		b.Fatal("the loop does not start:", err)
	}
	b.Cleanup(startReceivers(b, viewers, strings.TrimSpace(addr), overPlain, ""))
	return r
}

// send sends one message to everybody, and returns the processor time that it took.
func (r *rawLoop) send(b *testing.B) time.Duration {
	b.Helper()
	if _, err := io.WriteString(r.orders, "send\n"); err != nil {
		b.Fatal(err)
	}
	text, err := r.spent.ReadString('\n')
	spent, parsed := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || parsed != nil {
		b.Fatalf("the loop has ended: %v, %q", err, text)
	}
	return spent
}

const rawLoopEnv = "LECTERN_TEST_RAW_LOOP"

// runRawLoop is the process that newRawLoop starts.
func runRawLoop(arguments string) error {
	var n, size int
	if _, err := fmt.Sscan(arguments, &n, &size); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	fds := make([]int, n)
	for i := range fds {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fds[i] = descriptorOf(c.(*net.TCPConn))
	}
	text := make([]byte, size)
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		before := processorTime()
		for i, fd := range fds {
			for rawSend(fd, text) == syscall.EAGAIN {
				time.Sleep(time.Microsecond)
			}
			if i%256 == 255 {
				runtime.Gosched()
			}
		}
		fmt.Println(processorTime() - before)
	}
	return nil
}

// startProcess starts this program once more, with an argument in a variable of the
// environment. The process must end when its standard input does.
func startProcess(b *testing.B, variable, arguments string) (orders io.Writer, reports io.Reader) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"="+arguments)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if reports, err = cmd.StdoutPipe(); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return in, reports
}

// A hall is a room full of viewers. Its host is a session without a socket, so
// that only the deliveries cost anything.
type hall struct {
	hub     *hub.Hub
	worker  *netpoll.Worker
	host    *hub.Session
	viewers int
	message string
}

func newHall(b *testing.B, viewers int, message string, over way) *hall {
	b.Helper()
	r, addr, code := newEmptyHall(b, 1, over)
	r.viewers, r.message = viewers, message
	b.Cleanup(startReceivers(b, viewers, addr, over, code))
	for r.hub.Stats().Viewers < int64(viewers) {
		time.Sleep(time.Millisecond)
	}
	return r
}

// newEmptyHall returns a hall without viewers, its address and its code.
func newEmptyHall(b *testing.B, workers int, over way) (r *hall, addr, code string) {
	b.Helper()
	pool, err := netpoll.New(netpoll.Config{Workers: workers})
	if err != nil {
		b.Fatal(err)
	}
	var shards []hub.Worker
	for _, w := range pool.Workers() {
		shards = append(shards, w)
	}
	r = &hall{worker: pool.Workers()[0]}
	r.hub = newHub(hub.Config{MaxConnectionsPerAddress: maxHall}, shards, "")
	l, err := netpoll.Listen(context.Background(), "127.0.0.1:0", netpoll.SocketOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = pool.Close() })
	places := indexed(pool.Workers())
	through := new(relay)
	if over == overTLS {
		through.hub = r.hub
		through.tls = through.newTLS(selfSigned(b))
	}
	go func() {
		_ = pool.Serve(l, through.throughTLS(func(w *netpoll.Worker, c hub.Conn) *hub.Session { return r.hub.NewSession(places[w], c) }).direct())
	}()

	var created struct{ Code string }
	onWorker(r.worker, func() bool {
		r.host = r.hub.NewSession(0, silent{})
		r.host.Receive([]byte(upgradeRequest("/")))
		r.host.Receive(masked(`{"type":"create"}`))
		for p := r.host.Next(); len(p) > 0; p = r.host.Next() {
			if at := bytes.IndexByte(p, '{'); at >= 0 {
				_ = json.Unmarshal(p[at:], &created)
			}
			r.host.Sent(len(p), false)
		}
		return false
	})
	return r, l.Addr().String(), created.Code
}

// publish has the host say one message, waits until it is delivered, and returns the
// processor time that it took.
func (r *hall) publish() time.Duration {
	before := processorTime()
	goal := r.hub.Stats().Delivered + uint64(r.viewers)
	text := masked(r.message)
	onWorker(r.worker, func() (more bool) {
		if text != nil {
			r.host.Receive(text)
			text = nil
		}
		return r.hub.Stats().Delivered < goal
	})
	return processorTime() - before
}

func rawSend(fd int, p []byte) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return errno
}

type silent struct{}

func (silent) Flush()           {}
func (silent) Peer() netip.Addr { return netip.Addr{} }

func masked(text string) []byte {
	return frame.AppendMasked(nil, ws.OpText, true, [4]byte{1, 2, 3, 4}, []byte(text))
}

// onWorker has f run by the worker until it returns false, and waits for that.
func onWorker(w *netpoll.Worker, f func() (more bool)) {
	done := make(chan struct{})
	w.Post(func() bool {
		if f() {
			return true
		}
		close(done)
		return false
	})
	<-done
}

func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A way is what connections go over.
type way string

const (
	overPlain  way = "tcp"
	overTLS    way = "tls"
	overEvents way = "events"
)

// startReceivers starts a process with connections that read and throw away.
// With a code they are viewers of that room, else they send one byte.
func startReceivers(b *testing.B, n int, addr string, over way, code string) (stop func()) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s %s", receiversEnv, n, addr, over, code))
	cmd.Stderr = os.Stderr
	ready, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		b.Fatal("the receivers do not start:", err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

const receiversEnv = "LECTERN_TEST_RECEIVERS"

// receive is the process that startReceivers starts.
func receive(arguments string) error {
	var n int
	var addr, code string
	var over way
	if _, err := fmt.Sscan(arguments, &n, &addr, &over, &code); err != nil && err != io.EOF {
		return err
	}
	hello := "x"
	switch {
	case over == overEvents:
		hello = "GET /v1/rooms/" + code + "/events HTTP/1.1\r\nHost: x\r\n\r\n"
	case code != "":
		hello = upgradeRequest("/") + string(masked(`{"type":"join","code":"`+code+`"}`))
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		var to io.Writer = c
		if over == overTLS {
			to = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		if _, err := to.Write([]byte(hello)); err != nil {
			return err
		}
		fd := descriptorOf(c.(*net.TCPConn))
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	if _, err := os.Stdout.Write([]byte{1}); err != nil {
		return err
	}
	events, buf := make([]unix.EpollEvent, 1024), make([]byte, 64<<10)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(0, n)] {
			_, _, _ = syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(e.Fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
		}
	}
}

// descriptorOf duplicates a connection's descriptor and closes the original.
func descriptorOf(c *net.TCPConn) int {
	file, err := c.File()
	if err != nil {
		panic(err)
	}
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		panic(err)
	}
	_ = file.Close()
	_ = c.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		panic(err)
	}
	return fd
}

// maxHall is more than any benchmark has viewers.
const maxHall = 1 << 20
