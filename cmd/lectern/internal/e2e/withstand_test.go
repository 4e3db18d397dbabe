package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/coder/websocket"

	"lectern/hub"
	"lectern/netpoll"
)

// TestAViewerTakesLittle bounds the memory of an idle viewer.
func TestAViewerTakesLittle(t *testing.T) {
	const most = 160
	if n := unsafe.Sizeof(netpoll.Conn{}) + unsafe.Sizeof(hub.Session{}); n > most {
		t.Errorf("a Conn and a Session take %d bytes, more than %d", n, most)
	}
}

// status reads a line of /proc/PID/status in KiB, or a plain number.
func (b *binary) status(name string) int {
	b.t.Helper()
	all, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.t.Fatal(err)
			}
			return n
		}
	}
	b.t.Fatalf("no %s in /proc/PID/status", name)
	return 0
}

// processor returns the processor time that the relay has used.
func (b *binary) processor() time.Duration {
	b.t.Helper()
	all, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	// The fields after the name, which may hold anything, in parentheses.
	fields := strings.Fields(string(all[bytes.LastIndexByte(all, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks of 100 Hz
}

// open returns a bare socket after a handshake.
func (b *binary) open(from string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 20 * time.Second}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := dialer.Dial("tcp", b.addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.WriteString(c, upgradeRequest("/"))
	if err == nil {
		err = readHead(c)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// readHead reads an HTTP head byte by byte, and nothing beyond it.
func readHead(r io.Reader) error {
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one[0]) {
		if _, err := io.ReadFull(r, one); err != nil {
			return fmt.Errorf("after %q: %w", head, err)
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		return fmt.Errorf("answered %q", head)
	}
	return nil
}

// reset closes with RST, so that no port stays in TIME_WAIT.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// TestAHundredThousandComeAndGo resets and closes connections in every phase,
// and compares the relay's descriptors, counts and heap before and after. There are
// as many at full size, and otherwise 30,000: a connection of them that keeps 52 bytes
// is found.
func TestAHundredThousandComeAndGo(t *testing.T) {
	t.Parallel()
	const workers, perRound = 10, 1000
	rounds := sized(10, 3, 3)
	b := startBinary(t, "--pprof")
	host, code := openRoom(t, b)
	go func() { // somebody has to take the pings
		for {
			if _, _, err := host.Read(t.Context()); err != nil {
				return
			}
		}
	}()
	joinMessage := masked(`{"type":"join","code":"` + code + `"}`)
	phases := []func(net.Conn){
		func(c net.Conn) { reset(c) },
		func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHos"); reset(c) },
		func(c net.Conn) { _, _ = io.WriteString(c, upgradeRequest("/")); reset(c) },
		func(c net.Conn) { _, _ = io.WriteString(c, upgradeRequest("/")); _ = readHead(c); reset(c) },
		func(c net.Conn) {
			_, _ = io.WriteString(c, upgradeRequest("/")+string(joinMessage))
			_ = readHead(c)
			_, _ = io.ReadFull(c, make([]byte, 10))
			reset(c)
		},
		func(c net.Conn) {
			_, _ = io.WriteString(c, upgradeRequest("/")+string(joinMessage[:11]))
			_ = readHead(c)
			reset(c)
		},
		func(c net.Conn) {
			_, _ = io.WriteString(c, upgradeRequest("/")+"\x81\x85abcd")
			_ = c.(*net.TCPConn).CloseWrite()
			_ = readHead(c)
			reset(c)
		},
		func(c net.Conn) {
			_, _ = io.WriteString(c, upgradeRequest("/")+"\x88\x80abcd")
			_, _ = io.Copy(io.Discard, c)
			reset(c)
		},
		func(c net.Conn) {
			_, _ = io.WriteString(c, "nonsense\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
			reset(c)
		},
		func(c net.Conn) {
			_, _ = io.WriteString(c, "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
			reset(c)
		},
		func(c net.Conn) { // kept, and upgraded
			_, _ = io.WriteString(c, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
			_ = readHead(c)
			_, _ = io.WriteString(c, upgradeRequest("/")+string(joinMessage))
			_ = readHead(c)
			reset(c)
		},
	}
	// once opens and ends workers*perRound connections.
	once := func() {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(w+1))}}
				for i := range perRound {
					c, err := dialer.Dial("tcp", b.addr)
					if err != nil {
						t.Error(err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(time.Minute))
					phases[(i+w)%len(phases)](c)
				}
			})
		}
		all.Wait()
	}
	settled := func() {
		t.Helper()
		eventually(t, "only the host is left", func() bool {
			return b.metric(`lectern_connections{phase="open"}`) == 1 && b.metric(`lectern_connections{phase="handshake"}`) == 0
		})
	}
	once() // makes maps, pools and stacks as large as they get
	settled()
	descriptors, heap := b.descriptors(), b.collected()
	for range rounds - 1 {
		once()
	}
	settled()
	if n := b.metric("lectern_viewers"); n != 0 {
		t.Errorf("%v ghosts in the room", n)
	}
	eventually(t, "the descriptors are closed", func() bool { return b.descriptors() <= descriptors+2 })
	eventually(t, "the heap is as small as before", func() bool { return b.collected() < heap+(1<<20) })
	v := joinRoom(t, b, code)
	say(t, host, `{"type":"command","data":"still here"}`)
	expect(t, v, `{"type":"command","data":"still here"}`)
}

// TestHalfOpenPeerIsGivenUp has a peer that reads everything and answers no pings.
func TestHalfOpenPeerIsGivenUp(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--ping-after", "300ms", "--idle-timeout", "1s", "--close-timeout", "500ms", "--host-grace", "1s")
	_, code := openRoom(t, b) // nobody reads from it either
	c, err := b.open("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(masked(`{"type":"join","code":"` + code + `"}`)); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(all, []byte("\x89\x00")) {
		t.Errorf("no ping in %q", all)
	}
	if !bytes.Contains(all, []byte(`"closed"`)) {
		t.Errorf("no goodbye in %q", all)
	}
	eventually(t, "nobody is left", func() bool {
		return b.metric("lectern_rooms") == 0 && b.metric("lectern_viewers") == 0 && b.metric(`lectern_connections{phase="open"}`) == 0
	})
}

// TestAViewerThatStopsReading has two viewers stop reading while the host says more than
// their sockets hold. Other viewers notice nothing, the relay's memory stays bounded, and
// a viewer that reads again within the lag limit gets everything.
func TestAViewerThatStopsReading(t *testing.T) {
	t.Parallel()
	const lagLimit, size = 8 << 20, 100_000
	b := startBinary(t, "--lag-limit", strconv.Itoa(lagLimit), "--close-timeout", "1m")
	host, code := openRoom(t, b)
	stop := func() net.Conn {
		c, err := b.open("")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.Write(masked(`{"type":"join","code":"` + code + `"}`)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	patient, hopeless := stop(), stop()
	reader := joinRoom(t, b, code)
	eventually(t, "all three are in", func() bool { return b.metric("lectern_viewers") == 3 })
	text := func(i int) string {
		return fmt.Sprintf(`{"type":"command","data":"%07d%s"}`, i, strings.Repeat("x", size))
	}
	said := 0
	speak := func(bytes int) {
		t.Helper()
		for end := said + bytes/size; said < end; said++ {
			say(t, host, text(said))
			expect(t, reader, text(said))
		}
	}
	speak(lagLimit * 3 / 4)
	eventually(t, "two are stalled", func() bool { return b.metric("lectern_viewers_stalled") == 2 })

	// The first viewer reads again, and has missed nothing.
	in := bufio.NewReaderSize(patient, 1<<20)
	if got := readText(t, in); !strings.HasPrefix(got, `{"type":"joined","code":"`+code+`",`) {
		t.Fatalf("heard %.100s", got)
	}
	for i := range said {
		if got := readText(t, in); got != text(i) {
			t.Fatalf("heard %.60s instead of message %d", got, i)
		}
	}

	// The second viewer is closed when it is too far behind.
	before := b.status("VmRSS")
	speak(lagLimit * 8)
	go func() { _, _ = io.Copy(io.Discard, in) }()
	eventually(t, "one was too slow", func() bool {
		return b.metric(`lectern_closes_total{reason="too_slow"}`) == 1 || b.metric("lectern_viewers") < 3
	})
	if after := b.status("VmRSS"); after > before+4*lagLimit>>10 {
		t.Errorf("the relay grew from %d to %d KiB", before, after)
	}
	last := ""
	slow := bufio.NewReader(hopeless)
	for i := -1; ; i++ {
		op, payload := readFrame(t, slow)
		if op == 8 {
			if code := int(payload[0])<<8 | int(payload[1]); code != 4100 {
				t.Errorf("closed with %d", code)
			}
			break
		}
		if last = string(payload); i >= 0 && op == 1 && last != text(i) && last != `{"type":"closed","reason":"too_slow"}` {
			t.Fatalf("heard %.60s instead of message %d", last, i)
		}
	}
	if last != `{"type":"closed","reason":"too_slow"}` {
		t.Errorf("the last word was %.60s", last)
	}
	speak(size)
}

// readFrame reads one unfragmented frame of a server.
func readFrame(t testing.TB, r io.Reader) (op byte, payload []byte) {
	t.Helper()
	head := make([]byte, 2, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	n := int(head[1])
	if n > 125 {
		extra := head[2 : 2+map[int]int{126: 2, 127: 8}[n]]
		if _, err := io.ReadFull(r, extra); err != nil {
			t.Fatal(err)
		}
		n = 0
		for _, b := range extra {
			n = n<<8 | int(b)
		}
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	return head[0] & 0x0f, payload
}

// readText reads the next text frame, past any ping.
func readText(t testing.TB, r io.Reader) string {
	t.Helper()
	for {
		if op, payload := readFrame(t, r); op == 1 {
			return string(payload)
		}
	}
}

// TestDescriptorsRunOut starts a relay that may open 120 files, and has other clients
// take all the connections that it accepts. The clients in a room go on, the relay does
// not spin, and it accepts new clients when connections come free. The descriptors for
// its files and the admin address stay free all the time.
func TestDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	b := startBinaryUnder(t, []string{"sh", "-c", `ulimit -n 120; exec "$@"`, "sh"}, "--handshake-timeout", "1m", "--data", t.TempDir())
	host, code := openRoom(t, b)
	viewer := joinRoom(t, b, code)
	var idle []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", b.addr) // the kernel's backlog takes what the relay does not
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n") // who says nothing would make room
		idle = append(idle, c)
	}
	told := netpoll.ErrFull.Error()
	eventually(t, "the relay says that it accepts no more", func() bool { return strings.Contains(b.logged(), told) })
	if open := b.descriptors(); open > 120-30 {
		t.Errorf("%d descriptors are open", open)
	}
	used, written := b.processor(), b.metric("lectern_data_written_bytes_total")
	const watched = 2 * time.Second
	for i, end := 0, time.Now().Add(watched); time.Now().Before(end); i++ {
		time.Sleep(50 * time.Millisecond)
		_ = idle[i].Close() // one comes free, and is taken at once
		say(t, host, `{"type":"command","data":"go on"}`)
		expect(t, viewer, `{"type":"command","data":"go on"}`)
	}
	if used = b.processor() - used; used > watched/4 {
		t.Errorf("the relay used %s of %s while it could not accept", used, watched)
	}
	if n := strings.Count(b.logged(), told); n > 3 {
		t.Errorf("it said so %d times", n)
	}
	if strings.Contains(b.logged(), "too many open files") || b.metric("lectern_data_failing") != 0 || b.metric("lectern_data_written_bytes_total") == written {
		t.Error("descriptors that are reserved were not free")
	}
	for _, c := range idle {
		_ = c.Close()
	}
	late := joinRoom(t, b, code)
	say(t, host, `{"type":"command","data":"welcome"}`)
	for _, v := range []*websocket.Conn{viewer, late} {
		expect(t, v, `{"type":"command","data":"welcome"}`)
	}
}
