package e2e

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Clients that connect and never finish their handshake cost little and keep nobody out,
// and the relay closes them after the timeout. There are as many as the name says at full
// size.
func TestTenThousandUnfinishedHandshakes(t *testing.T) {
	t.Parallel()
	const (
		perPeer  = 2 << 10 // bytes of the relay's resident memory for each
		promptly = time.Second
	)
	crowd := sized(10_000, 5000, 5000)
	b := startBinary(t, "--handshake-timeout", "7s")
	host, code := openRoom(t, b)
	viewer := joinRoom(t, b, code)
	const welcome = `{"type":"command","data":"welcome"}`
	handshaking := func() float64 { return b.metric(`lectern_connections{phase="handshake"}`) }
	handshaking() // opens the connection that is used for this
	descriptors, resident := b.descriptors(), b.status("VmRSS")

	began := time.Now()
	peers := connectCrowd(t, b.addr, crowd)
	eventually(t, "all of them are there", func() bool { return handshaking() == float64(crowd) })
	each := (b.status("VmRSS") - resident) << 10 / crowd
	t.Logf("%d connections in %s, %d bytes of resident memory each", crowd, time.Since(began).Round(time.Millisecond), each)
	if each > perPeer {
		t.Errorf("each costs %d bytes, at most %d are allowed", each, perPeer)
	}

	joining := time.Now()
	otherHost, otherCode := openRoom(t, b)
	otherViewer := joinRoom(t, b, otherCode)
	say(t, otherHost, welcome)
	expect(t, otherViewer, welcome)
	say(t, host, welcome)
	expect(t, viewer, welcome)
	took := time.Since(joining).Round(time.Microsecond)
	t.Logf("beside them it took %s to create a room, join it and broadcast in two", took)
	if took > promptly {
		t.Errorf("that is more than %s", promptly)
	}
	if got := handshaking(); got != float64(crowd) {
		t.Fatalf("%v of %d were still there then", got, crowd)
	}

	eventually(t, "they are all given up", func() bool { return handshaking() == 0 })
	const others = 2 // descriptors of the second room
	eventually(t, "their descriptors are free", func() bool { return b.descriptors() <= descriptors+others })
	t.Logf("the last was gone after %s", time.Since(began).Round(time.Millisecond))
	if got := b.metric(`lectern_connections{phase="open"}`); got != 4 {
		t.Errorf("%v connections are left, want the two hosts and viewers", got)
	}
	if got := b.metric(`lectern_closes_total{reason="handshake_timeout"}`); got != float64(crowd) {
		t.Errorf("%v connections were given up, want %d", got, crowd)
	}
	for _, peer := range peers {
		_ = peer.SetReadDeadline(time.Now().Add(patience))
		answer := make([]byte, 512)
		n, err := peer.Read(answer)
		if !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 408 ") {
			t.Fatalf("a peer heard %q, %v instead of 408", answer[:n], err)
		}
	}
	say(t, host, welcome)
	expect(t, viewer, welcome)
}

// When silent connections take all places for handshakes, clients that finish theirs
// replace them.
func TestSilentCrowdsMakeRoom(t *testing.T) {
	t.Parallel()
	const limit, honest = 300, 100
	b := startBinary(t, "--max-handshaking", strconv.Itoa(limit), "--handshake-timeout", "1m")
	for range 3 * limit {
		c, err := net.DialTimeout("tcp", b.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "all the handshakes are taken", func() bool { return b.metric(`lectern_connections{phase="handshake"}`) == limit })
	var all sync.WaitGroup
	for range honest {
		all.Go(func() {
			c, err := b.open("")
			if err != nil {
				t.Errorf("an honest client: %v", err)
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		})
	}
	all.Wait()
	if n := b.metric(`lectern_connections{phase="open"}`); n != honest {
		t.Errorf("%v of %d are in", n, honest)
	}
}

// connectCrowd opens n connections. One half sends nothing, the other half sends half of
// a handshake.
func connectCrowd(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	peers := make([]net.Conn, n)
	t.Cleanup(func() {
		for _, peer := range peers {
			if peer != nil {
				_ = peer.Close()
			}
		}
	})
	head := upgradeRequest("/")
	head = head[:len(head)/2]
	const hands = 4
	var all sync.WaitGroup
	for hand := range hands {
		all.Go(func() {
			for i := hand; i < n; i += hands {
				peer, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					t.Error(err)
					return
				}
				peers[i] = peer
				if i < n/2 {
					continue
				}
				if _, err := peer.Write([]byte(head)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if all.Wait(); t.Failed() {
		t.FailNow()
	}
	return peers
}
