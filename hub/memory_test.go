package hub

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/roomcode"
)

// The tests of this package run the relay in memory: workers that run their
// tasks when they are told to, and peers whose sockets take as much as they are
// told to.

// A testWorker runs what was posted when run is called.
type testWorker struct {
	mu    sync.Mutex
	tasks []func() bool // guarded by mu

	now   uint32
	spent func() bool // nil for never
}

func (w *testWorker) Post(task func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks = append(w.tasks, task)
}

func (w *testWorker) PostBehind(task func() bool) { w.Post(task) }
func (w *testWorker) PostAgain(task func() bool)  { w.Post(task) }

func (w *testWorker) Spent() bool { return w.spent != nil && w.spent() }
func (w *testWorker) Now() uint32 { return w.now }

// step runs the oldest task once, and reports whether there was one.
func (w *testWorker) step() bool {
	w.mu.Lock()
	if len(w.tasks) == 0 {
		w.mu.Unlock()
		return false
	}
	task := w.tasks[0]
	w.tasks = w.tasks[1:]
	w.mu.Unlock()
	if task() {
		w.Post(task)
	}
	return true
}

// idle reports whether there is nothing to do.
func (w *testWorker) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.tasks) == 0
}

// A testRelay is a hub on test workers.
type testRelay struct {
	t       testing.TB
	hub     *Hub
	workers []*testWorker

	flooded uint64 // codes that flood has tried
}

func newTestRelay(t testing.TB, workers int, config Config) *testRelay {
	r := &testRelay{t: t}
	var all []Worker
	for range workers {
		w := &testWorker{now: 1 << 31} // so that no time is near zero
		r.workers = append(r.workers, w)
		all = append(all, w)
	}
	r.hub = newHub(config, all)
	r.hub.background = func(f func()) {
		r.workers[0].Post(func() bool { f(); return false })
	}
	return r
}

// run lets every worker finish its tasks.
func (r *testRelay) run() {
	for busy := true; busy; {
		busy = false
		for _, w := range r.workers {
			for w.step() {
				busy = true
			}
		}
	}
}

// pass lets time go by, and ticks the peers each second of it.
func (r *testRelay) pass(d time.Duration, peers ...*peer) {
	for ; d > 0; d -= time.Second {
		for _, w := range r.workers {
			w.now += uint32(min(d, time.Second).Milliseconds())
		}
		for _, p := range peers {
			p.tick()
		}
	}
	r.run()
}

// rooms returns the rooms that do not sleep, by their codes.
func (r *testRelay) rooms() map[roomcode.Code]*Room {
	all := make(map[roomcode.Code]*Room)
	rooms, _ := r.hub.rooms.Page(roomcode.Code{}, math.MaxInt)
	for _, l := range rooms {
		if l.Room != nil {
			all[l.Code] = l.Room
		}
	}
	return all
}

// A peer is a client and the socket to it.
type peer struct {
	relay    *testRelay
	session  *Session
	from     netip.Addr
	lastHost string     // the latest message with a host's token that frames has met
	presence []string   // the events of this type that frames has met
	counts   []string   // and those that tell the number of viewers
	room     int        // bytes the socket still takes
	cut      func() int // at most so many bytes a send; nil for all
	wire     []byte     // arrived, not yet read
	ended    bool       // the relay shut down its sending side, or closed
	gone     bool       // Closed was called
	compact  bool       // speaks the compact dialect
	deflate  bool       // compresses what it says, and agreed on it
	inflated int        // compressed messages that frames has met

	stream    *eventReader // reads an event stream; nil for other peers
	closeCode int          // that ends a WebSocket for the reason that ends the stream
}

const plenty = 1 << 40

const testHead = "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"

// connect returns a peer that sent nothing yet.
func (r *testRelay) connect(worker int) *peer {
	p := &peer{relay: r, room: plenty, from: netip.MustParseAddr("192.0.2.1")}
	p.session = r.hub.NewSession(worker, p)
	return p
}

// dial returns a peer whose handshake is finished.
func (r *testRelay) dial(worker int) *peer {
	return r.dialFrom(worker, netip.MustParseAddr("192.0.2.1"))
}

// dialFrom is dial from an address.
func (r *testRelay) dialFrom(worker int, from netip.Addr) *peer {
	return r.connect(worker).opens(from, "/")
}

// dialCompact is dialFrom for a client that speaks the compact dialect.
func (r *testRelay) dialCompact(worker int, from netip.Addr) *peer {
	p := r.connect(worker)
	p.compact = true
	return p.opens(from, "/compact")
}

// dialDeflate is dialFrom for a client that agrees on compression.
func (r *testRelay) dialDeflate(worker int, from netip.Addr) *peer {
	p := r.connect(worker)
	p.deflate = true
	return p.opens(from, "/")
}

// opens finishes the handshake.
func (p *peer) opens(from netip.Addr, path string) *peer {
	r := p.relay
	p.from = from
	head := strings.Replace(testHead, " / ", " "+path+" ", 1)
	if p.deflate {
		head = strings.TrimSuffix(head, "\r\n") + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
	}
	p.bytes([]byte(head))
	reply := string(p.wire)
	if strings.Contains(reply, "permessage-deflate") != p.deflate {
		r.t.Fatalf("compression: %v; handshake answered %q", p.deflate, reply)
	}
	if !strings.HasPrefix(reply, "HTTP/1.1 101 ") || !strings.HasSuffix(reply, "\r\n\r\n") {
		r.t.Fatalf("handshake answered %q", reply)
	}
	p.wire = nil
	return p
}

// Peer returns the address that the peer comes from.
func (p *peer) Peer() netip.Addr { return p.from }

// Flush does what a transport does.
func (p *peer) Flush() {
	for !p.gone {
		due := p.session.Next()
		if len(due) == 0 {
			reading, writing := p.session.Wants()
			p.ended = p.ended || !writing
			if !reading && !writing {
				p.reset()
			}
			return
		}
		offered := len(due)
		if p.cut != nil {
			offered = min(offered, max(1, p.cut()))
		}
		n := min(offered, p.room)
		p.room -= n
		p.wire = append(p.wire, due[:n]...)
		p.session.Sent(n, n < offered)
		if n < offered {
			return
		}
	}
}

// bytes sends raw bytes to the relay. The peer's copy stays as it is.
func (p *peer) bytes(b []byte) {
	if p.gone {
		return
	}
	p.session.Receive(append([]byte(nil), b...))
	p.Flush()
}

// frame sends one frame.
func (p *peer) frame(op ws.OpCode, payload string) {
	if p.stream != nil {
		return // it has no frames
	}
	p.bytes(frame.AppendMasked(nil, op, true, [4]byte{1, 2, 3, 4}, []byte(payload)))
}

// say sends a text message.
func (p *peer) say(text string) {
	switch {
	case p.stream != nil:
		p.requestStream(text)
		return
	case p.compact:
		p.sayCompact(text)
		return
	}
	p.bytes(p.masked(text))
}

// masked returns a text as the peer sends it.
func (p *peer) masked(text string) []byte {
	if !p.deflate {
		return appendMasked(nil, text)
	}
	return compressedFrame(deflated(text))
}

// compressedFrame returns a compressed message as a client sends it.
func compressedFrame(payload []byte) []byte {
	b := appendMasked(nil, string(payload))
	b[0] |= 0x40 // RSV1
	return b
}

// reset ends the connection without a word.
func (p *peer) reset() {
	if !p.gone {
		p.gone = true
		p.session.Closed(nil)
	}
}

func (p *peer) tick() {
	if !p.gone {
		p.session.Tick()
		p.Flush()
	}
}

// drain makes room in the socket, as a peer that reads.
func (p *peer) drain(room int) {
	p.room = room
	p.Flush()
}

// hostToken returns the host's token that the relay told last, read or not: the
// relay itself does not know it any more.
func (p *peer) hostToken() string {
	told := p.wire
	if p.session.out != nil {
		for _, item := range p.session.out.items {
			told = append(told[:len(told):len(told)], item.frame...)
		}
	}
	if p.compact {
		heard := &peer{relay: p.relay, compact: true, wire: told}
		told = []byte(strings.Join(heard.frames(), " "))
	}
	all := hostTokens.FindAllStringSubmatch(p.lastHost+string(told), -1)
	if all == nil {
		p.relay.t.Fatalf("no token was told in %q", told)
	}
	return all[len(all)-1][1]
}

var hostTokens = regexp.MustCompile(`"token":"([0-9a-f]{32})"`)

// frames takes the whole frames that arrived: text as it is, a close frame as
// its code, others by their opcode. Presence and counts are put aside. It fails on anything a client would.
func (p *peer) frames() (all []string) {
	p.relay.t.Helper()
	if p.stream != nil {
		return p.streamed()
	}
	for len(p.wire) >= 2 {
		op, n, head := p.wire[0], int(p.wire[1]), 2
		if op&0x70 != 0 && !(p.deflate && op == 0xC1) || op&0x80 == 0 || n&0x80 != 0 {
			p.relay.t.Fatalf("garbled frame: % x", p.wire[:min(len(p.wire), 16)])
		}
		switch n {
		case 126:
			head = 4
		case 127:
			head = 10
		}
		if len(p.wire) < head {
			break
		}
		switch n {
		case 126:
			n = int(binary.BigEndian.Uint16(p.wire[2:]))
		case 127:
			n = int(binary.BigEndian.Uint64(p.wire[2:]))
		}
		if len(p.wire) < head+n {
			break
		}
		payload := string(p.wire[head : head+n])
		p.wire = p.wire[head+n:]
		if op&0x40 != 0 {
			payload = inflated(p.relay.t, payload)
			p.inflated++
		}
		code := ws.OpCode(op & 0x0f)
		if code == ws.OpBinary && p.compact {
			code, payload = ws.OpText, p.hearCompact(payload)
		}
		switch code {
		case ws.OpText:
			asDescribed(p.relay.t, payload)
			if hostTokens.MatchString(payload) {
				p.lastHost = payload
			}
			if strings.HasPrefix(payload, `{"type":"presence"`) {
				p.presence = append(p.presence, payload) // comes in its own time
				continue
			}
			if strings.HasPrefix(payload, `{"type":"viewers"`) {
				p.counts = append(p.counts, payload)
				continue
			}
			all = append(all, payload)
		case ws.OpClose:
			code := 1005
			if len(payload) >= 2 {
				code = int(binary.BigEndian.Uint16([]byte(payload)))
			}
			all = append(all, fmt.Sprintf("close %d", code))
			if len(p.wire) > 0 {
				p.relay.t.Fatalf("after the close frame comes % x", p.wire)
			}
		case ws.OpPing:
			all = append(all, "ping "+payload)
		case ws.OpPong:
			all = append(all, "pong "+payload)
		default:
			p.relay.t.Fatalf("frame with opcode %x", op)
		}
	}
	return all
}

// hears checks what arrived, whole. An asterisk at the end of a text stands
// for anything.
func (p *peer) hears(want ...string) {
	p.relay.t.Helper()
	p.relay.run()
	got := p.frames()
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		if begin, open := strings.CutSuffix(want[i], "*"); open {
			same = strings.HasPrefix(got[i], begin)
		} else {
			same = got[i] == want[i]
		}
	}
	if !same {
		p.relay.t.Fatalf("heard\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// host returns a peer that has opened a room, and the room's code.
func (r *testRelay) host(worker int) (*peer, string) {
	r.t.Helper()
	p := r.dial(worker)
	p.say(`{"type":"create"}`)
	r.run()
	all := p.frames()
	if len(all) != 1 || !strings.HasPrefix(all[0], `{"type":"created","code":"`) {
		r.t.Fatalf("create was answered %q", all)
	}
	return p, p.session.room.code.String()
}

// viewer returns a peer that has joined the room.
func (r *testRelay) viewer(worker int, code string) *peer {
	r.t.Helper()
	p := r.dial(worker)
	p.say(`{"type":"join","code":"` + code + `"}`)
	p.hears(`{"type":"joined","code":"` + code + `",*`)
	return p
}

func appendFrameMasked(b []byte, op ws.OpCode, payload string) []byte {
	return frame.AppendMasked(b, op, true, [4]byte{1, 2, 3, 4}, []byte(payload))
}

func appendMasked(b []byte, text string) []byte { return appendFrameMasked(b, ws.OpText, text) }
