//go:build linux

package attack

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lectern/netpoll/tlsrecord"
)

const (
	innocentAddress = "127.0.0.1"
	broadcastEvery  = 50 * time.Millisecond
	broadcastSize   = 256
)

// A room is the innocent one: its host broadcasts, and each viewer checks that it
// hears everything once and in order. One thread reads for all viewers.
type room struct {
	code    string
	host    net.Conn
	viewers []*viewer
	epoll   int
	stop    atomic.Bool
	threads sync.WaitGroup

	writing sync.Mutex // held while the host writes
	quiet   atomic.Bool
	said    atomic.Int64 // broadcasts

	mu     sync.Mutex
	joined int            // guarded by mu; viewers that are in
	heard  []delivery     // guarded by mu; since it was last taken
	faults []string       // guarded by mu; at most some
	more   int            // guarded by mu; faults that were not kept
	buffer [64 << 10]byte // of the reading thread
	opened []byte         // of the reading thread; what came in records
}

// A viewer is a socket of the innocent room. The reading thread owns it, but for
// seq and last under the room's mu.
type viewer struct {
	number int
	fd     int
	tls    *tlsrecord.Conn // nil if it is plain
	in     []byte          // what came and is not whole
	opened bool            // the head of the answer has come
	seq    int64           // of the last broadcast
	last   time.Time
	gone   bool
}

// A delivery is one broadcast that came to one viewer.
type delivery struct {
	at    time.Time     // when it was due at the host
	after time.Duration // when it was there
	gap   time.Duration // since the viewer's one before it
}

// openRoom opens the innocent room with so many viewers. It ends with the test.
func openRoom(t testing.TB, addr string, secure bool, viewers int) (*room, error) {
	r := &room{}
	t.Cleanup(r.close)
	host, created, err := openHost(addr, secure)
	if err != nil {
		return nil, err
	}
	r.host, r.code = host, created
	r.threads.Go(r.hostReads)
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	dial := dialRaw
	if secure {
		dial = dialRawSecure
	}
	for i := range viewers {
		v := &viewer{number: i}
		if v.fd, v.tls, err = dial(addr); err != nil {
			return nil, err
		}
		r.viewers = append(r.viewers, v)
		hello := append([]byte(upgradeRequest), textFrame(`{"type":"join","code":"`+r.code+`"}`)...)
		if err = v.write(hello); err == nil {
			err = unix.SetNonblock(v.fd, true)
		}
		if err == nil {
			err = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, v.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)})
		}
		if err != nil {
			return nil, err
		}
	}
	r.threads.Go(r.viewersRead)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		joined := r.joined
		r.mu.Unlock()
		if joined == viewers {
			break
		}
		if time.Now().After(deadline) {
			return nil, errors.New("the innocent viewers do not get in: " + fmt.Sprint(r.wrong()))
		}
	}
	r.threads.Go(r.hostSpeaks)
	return r, nil
}

// openHost opens a room and returns its host's connection and its code.
func openHost(addr string, secure bool) (net.Conn, string, error) {
	dialer := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(innocentAddress)}}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, "", err
	}
	if secure {
		c = tls.Client(c, strangerTLS())
	}
	p := &peer{conn: c, buffer: make([]byte, 4096)}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	answer, err := p.open(`{"type":"create"}`)
	_ = c.SetDeadline(time.Time{})
	var created struct{ Type, Code string }
	if err == nil {
		err = json.Unmarshal([]byte(answer), &created)
	}
	if err == nil && created.Type != "created" {
		err = fmt.Errorf("create was answered %s", answer)
	}
	if err != nil {
		_ = c.Close()
		return nil, "", err
	}
	return c, created.Code, nil
}

// write writes to the relay.
func (v *viewer) write(b []byte) error {
	if v.tls != nil {
		b, _ = v.tls.Seal(nil, b) // it is short
	}
	_, err := unix.Write(v.fd, b)
	return err
}

// dialRaw returns a plain socket from the innocent address.
func dialRaw(addr string) (fd int, plain *tlsrecord.Conn, err error) {
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return -1, nil, err
	}
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(innocentAddress).To4())})
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
	}
	if err != nil {
		return -1, nil, errors.Join(err, unix.Close(fd))
	}
	return fd, nil, nil
}

// hurry has the thread that calls it run before others where that is allowed,
// because it measures. The function that it returns ends that: a locked thread
// would end with its goroutine, and with it the processes that it has started.
func hurry() (relax func()) {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10)
	return func() {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 0)
		runtime.UnlockOSThread()
	}
}

// hostSpeaks broadcasts at fixed times. What is late because the socket was full
// is counted from when it was due.
func (r *room) hostSpeaks() {
	defer hurry()()
	frame := make([]byte, 0, 512)
	for due := time.Now(); !r.stop.Load(); due = due.Add(broadcastEvery) {
		time.Sleep(time.Until(due))
		if r.quiet.Load() {
			due = time.Now()
			continue
		}
		n := r.said.Load() + 1
		text := fmt.Appendf(nil, `{"type":"command","data":"%d %d `, n, due.UnixNano())
		text = append(append(text, bytes.Repeat([]byte("x"), broadcastSize-2-len(text))...), `"}`...)
		frame = append(appendHead(frame[:0], opText, len(text)), text...)
		r.writing.Lock()
		_, err := r.host.Write(frame)
		r.writing.Unlock()
		if err != nil {
			if !r.stop.Load() {
				r.wrongs("the host cannot speak: %v", err)
			}
			return
		}
		r.said.Store(n)
	}
}

// hostReads takes what the relay tells the host, and answers pings.
func (r *room) hostReads() {
	var in []byte
	for chunk := make([]byte, 16<<10); ; {
		n, err := r.host.Read(chunk)
		if err != nil {
			if !r.stop.Load() {
				r.wrongs("the host was closed: %v", err)
			}
			return
		}
		in = append(in, chunk[:n]...)
		for {
			op, payload, rest, ok := cutFrame(in)
			if !ok {
				break
			}
			if op == opPing {
				r.writing.Lock()
				_, _ = r.host.Write(append(appendHead(nil, opPong, len(payload)), payload...))
				r.writing.Unlock()
			}
			in = rest
		}
	}
}

func (r *room) viewersRead() {
	defer hurry()()
	events := make([]unix.EpollEvent, 256)
	for !r.stop.Load() {
		n, err := unix.EpollWait(r.epoll, events, 100)
		if err != nil && err != unix.EINTR {
			r.wrongs("epoll: %v", err)
			return
		}
		for _, e := range events[:max(0, n)] {
			r.read(r.viewers[e.Fd])
		}
	}
}

func (r *room) read(v *viewer) {
	n, err := unix.Read(v.fd, r.buffer[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		r.leaves(v, fmt.Sprintf("its connection ended (%v)", err))
		return
	}
	now := time.Now()
	in := r.buffer[:n]
	if v.tls != nil {
		if r.opened, err = v.tls.Open(r.opened[:0], in); err != nil {
			r.leaves(v, fmt.Sprintf("its records ended (%v)", err))
			return
		}
		in = r.opened
	}
	if len(v.in) > 0 {
		v.in = append(v.in, in...)
		in = v.in
	}
	if !v.opened {
		head, rest, ok := bytes.Cut(in, []byte("\r\n\r\n"))
		if ok && !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
			r.leaves(v, fmt.Sprintf("it was answered %.60q", head))
			return
		}
		if v.opened = ok; ok {
			in = rest
		}
	}
	for v.opened && !v.gone {
		op, payload, rest, ok := cutFrame(in)
		if !ok {
			break
		}
		in = rest
		r.takes(v, op, payload, now)
	}
	v.in = append(v.in[:0], in...)
}

var (
	broadcastBegins = []byte(`{"type":"command","data":"`)
	joinedBegins    = []byte(`{"type":"joined"`)
)

// takes has the viewer look at a frame that came.
func (r *room) takes(v *viewer, op byte, payload []byte, now time.Time) {
	switch op {
	case opPing:
		_ = v.write(append(appendHead(nil, opPong, len(payload)), payload...))
		return
	case opClose:
		r.leaves(v, "it was closed, "+string(payload[min(2, len(payload)):])) // after the close code
		return
	}
	if bytes.HasPrefix(payload, joinedBegins) {
		r.mu.Lock()
		r.joined++
		r.mu.Unlock()
		return
	}
	rest, ok := bytes.CutPrefix(payload, broadcastBegins)
	if !ok {
		return // an event
	}
	fields := bytes.SplitN(rest, []byte(" "), 3)
	if len(fields) != 3 || len(payload) != broadcastSize {
		r.leaves(v, fmt.Sprintf("it heard %.80q", payload))
		return
	}
	n, err1 := strconv.ParseInt(string(fields[0]), 10, 64)
	due, err2 := strconv.ParseInt(string(fields[1]), 10, 64)
	r.mu.Lock()
	seq := v.seq
	v.seq = n
	d := delivery{at: time.Unix(0, due)}
	d.after = now.Sub(d.at)
	if !v.last.IsZero() {
		d.gap = now.Sub(v.last)
	}
	v.last = now
	r.heard = append(r.heard, d)
	r.mu.Unlock()
	if err1 != nil || err2 != nil || n != seq+1 {
		r.leaves(v, fmt.Sprintf("it heard number %d after %d", n, seq))
	}
}

// leaves notes that a viewer is no longer there, and why.
func (r *room) leaves(v *viewer, why string) {
	v.gone = true
	_ = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, v.fd, nil)
	if !r.stop.Load() {
		r.wrongs("viewer %d: %s", v.number, why)
	}
}
