package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
	"lectern/frame"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// senderSetup is the first line that the child of the limit scenario reads.
type senderSetup struct {
	Viewers int    `json:"viewers"`
	Size    int    `json:"size"`
	Tag     uint32 `json:"tag"`
}

// acceptLimit is how long the child waits for all connections.
const acceptLimit = 2 * time.Minute

// backlog is as long as the kernel allows (net.core.somaxconn).
const backlog = 1 << 16

// SendLimit is the child of the [Limit] scenario. It reads jobs as lines of
// JSON from in and answers on out, until in ends.
func SendLimit(in io.Reader, out io.Writer) error {
	jobs, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	var setup senderSetup
	if err := jobs.Decode(&setup); err != nil {
		return fmt.Errorf("read the setup: %w", err)
	}
	listener, addr, err := listenRaw()
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	if err := answers.Encode(senderDone{Addr: addr}); err != nil {
		return err
	}
	s := &rawSender{setup: setup, clock: newTicker(workload.Monotonic)}
	defer s.close()
	if err := s.accept(listener); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	for {
		var job senderJob
		if err := jobs.Decode(&job); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		if err := answers.Encode(s.work(job)); err != nil {
			return err
		}
	}
}

// A rawSender is the loop that everything is compared with.
type rawSender struct {
	setup senderSetup
	clock *ticker
	fds   []int
	seq   uint32
	frame []byte
}

// listenRaw listens on loopback. Its sockets are plain descriptors: a
// net.Conn's would be registered with the runtime's poller, which costs each
// send.
func listenRaw() (fd int, addr string, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, "", os.NewSyscallError("socket", err)
	}
	var name unix.Sockaddr
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, "", err
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}

// accept takes all connections, as non-blocking descriptors.
func (s *rawSender) accept(listener int) error {
	deadline := time.Now().Add(acceptLimit)
	for len(s.fds) < s.setup.Viewers {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return fmt.Errorf("only %d of %d came within %v", len(s.fds), s.setup.Viewers, acceptLimit)
		}
		conn, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("accept4", err)
		}
		s.fds = append(s.fds, conn)
		if err := unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func (s *rawSender) close() {
	for _, fd := range s.fds {
		_ = unix.Close(fd)
	}
}

// work does a job.
func (s *rawSender) work(job senderJob) senderDone {
	var done senderDone
	if job.Fence {
		s.sendAll(job.Kind, job.Start)
		done.Count++
		return done
	}
	var late report.Series
	l := load{kind: job.Kind, start: job.Start, rate: job.Rate, count: job.Count}
	end := s.clock.now() + job.Limit
	for k := range job.Count {
		due := l.due(k)
		s.clock.sleepUntil(due)
		now := s.clock.now()
		if now > end {
			break
		}
		late.Record(now, (now-due)/1e3)
		s.sendAll(job.Kind, due)
		done.Count++
	}
	done.Late = report.Summarize(late.Merged())
	return done
}

// sendAll sends one message to everybody, on all processors as a server would: if
// one of them were left to the receivers, each send would wake a receiver there,
// which costs more than the send itself saves.
func (s *rawSender) sendAll(kind byte, due int64) {
	s.seq++
	s.frame = limitFrame(s.frame[:0], stamp.Stamp{Kind: kind, Room: s.setup.Tag, Seq: s.seq, Due: due, Size: s.setup.Size})
	var group sync.WaitGroup
	n := runtime.NumCPU()
	for i := range n {
		group.Go(func() { s.sendEach(i, n) })
	}
	group.Wait()
}

// limitFrame appends the one frame that a message consists of.
func limitFrame(b []byte, st stamp.Stamp) []byte {
	return st.Append(frame.AppendHeader(b, ws.OpText, st.Size))
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
