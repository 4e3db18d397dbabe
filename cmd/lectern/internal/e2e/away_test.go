package e2e

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestTheRelayItselfWasAway stops the process for longer than the idle timeout and the
// time that a room waits for its host. Nobody is closed for it.
func TestTheRelayItselfWasAway(t *testing.T) {
	t.Parallel()
	const (
		viewers = 50
		deaf    = 5 // connections that do not answer
		silence = 3 * time.Second
		away    = 2 * silence
		looked  = 1500 * time.Millisecond // every connection's time is looked at once a second
	)
	b := startBinary(t, "--ping-after", "1s", "--idle-timeout", silence.String(), "--host-grace", "4s", "--handshake-timeout", "5s")
	speaker, code := openRoom(t, b)
	reads(t, speaker)
	for range viewers {
		reads(t, joinRoom(t, b, code))
	}
	lost := dial(t, b.url("/"))
	say(t, lost, `{"type":"create"}`)
	var room struct{ Code, Token string }
	if err := json.Unmarshal([]byte(hear(t, lost)), &room); err != nil {
		t.Fatal(err)
	}
	viewer := joinRoom(t, b, room.Code)
	_ = lost.CloseNow()
	expect(t, viewer, `{"type":"host_left","grace_ms":4000}`)
	reads(t, viewer)

	for range deaf {
		dial(t, b.url("/"))
	}
	late, err := net.DialTimeout("tcp", b.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	head := upgradeRequest("/")
	if _, err := late.Write([]byte(head[:len(head)/2])); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has half of a request", func() bool { return b.metric(`lectern_connections{phase="handshake"}`) == 1 })

	b.signal(syscall.SIGSTOP)
	time.Sleep(away)
	b.signal(syscall.SIGCONT)

	host := dial(t, b.url("/"))
	say(t, host, `{"type":"resume","code":"`+room.Code+`","token":"`+room.Token+`"}`)
	var back struct{ Type string }
	if err := json.Unmarshal([]byte(hear(t, host)), &back); err != nil || back.Type != "created" {
		t.Errorf("the host resumed as %+v, %v", back, err)
	}
	for end := time.Now().Add(looked); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if n := b.metric(`lectern_closes_total{reason="idle"}`); n > 0 {
			t.Fatalf("%v connections were closed as idle", n)
		}
	}
	if n := b.metric("lectern_viewers"); n != viewers+1 {
		t.Errorf("%v viewers are left of %d", n, viewers+1)
	}
	answer := make([]byte, 512)
	_, _ = late.Write([]byte(head[len(head)/2:]))
	if n, err := late.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 101 ") {
		t.Errorf("a handshake that the stop interrupted was answered %q, %v", answer[:n], err)
	}
	_ = late.Close()
	reads(t, host)
	eventually(t, "those who do not answer are closed all the same", func() bool {
		return b.metric(`lectern_closes_total{reason="idle"}`) == deaf
	})
	if n := b.metric("lectern_viewers"); n != viewers+1 {
		t.Errorf("%v viewers are left of %d", n, viewers+1)
	}
}

// reads reads until the test ends, so that the client answers pings.
func reads(t *testing.T, c *websocket.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
