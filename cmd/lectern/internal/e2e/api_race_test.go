package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
)

// TestDeleteDuringBroadcasts: a viewer gets every broadcast that was accepted,
// in order, then hears that the room was deleted. Later ones find no room.
func TestDeleteDuringBroadcasts(t *testing.T) {
	t.Parallel()
	b := startAPI(t)
	for round := range 3 {
		code := b.ask("POST", "/v1/api/rooms", `{}`).Want(t, 201).Room(t).Code
		viewer := dial(t, b.url("/"))
		say(t, viewer, `{"type":"join","code":"`+code+`"}`)
		hearType(t, viewer, "joined")

		var mu sync.Mutex
		accepted := make(map[uint64]string) // data by number
		var speakers sync.WaitGroup
		for speaker := range 4 {
			speakers.Go(func() {
				for n := 0; ; n++ {
					data := fmt.Sprintf(`"%d of %d"`, n, speaker)
					a, err := b.tryAsk("POST", "/v1/api/rooms/"+code+"/broadcast", `{"data":`+data+`}`)
					if err != nil {
						t.Error(err)
						return
					}
					if a.Status == http.StatusNotFound {
						return
					}
					if a.Status != http.StatusOK {
						t.Errorf("a broadcast was answered %s", a)
						return
					}
					mu.Lock()
					accepted[a.Seq(t)] = data
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(20+30*round) * time.Millisecond)
		deleted := 0
		for range 2 {
			if b.ask("DELETE", "/v1/api/rooms/"+code, "").Status == http.StatusOK {
				deleted++
			}
		}
		speakers.Wait()
		if deleted != 1 {
			t.Errorf("the room was deleted %d times", deleted)
		}
		for seq := uint64(1); seq <= uint64(len(accepted)); seq++ {
			expect(t, viewer, `{"type":"broadcast","data":`+accepted[seq]+`}`)
		}
		expect(t, viewer, `{"type":"closed","reason":"deleted"}`)
		if got := hearClose(t, viewer); got != 4000 {
			t.Errorf("closed with %d", got)
		}
	}
}

// TestLargeBodyIsRefusedWithAnAnswer: a client that sends too much gets an answer
// before its connection ends.
func TestLargeBodyIsRefusedWithAnAnswer(t *testing.T) {
	t.Parallel()
	b := startAPI(t)
	huge := `{"data":"` + strings.Repeat("x", 8<<20) + `"}`
	for name, c := range map[string]struct {
		change apitest.Change
		status int
	}{
		"too large": {func(*http.Request) {}, 413},
		"chunked":   {func(r *http.Request) { r.ContentLength = -1 }, 413},
		"no key":    {apitest.NoKey, 401},
		"text":      {apitest.Header("Content-Type", "text/plain"), 415},
		"expects":   {apitest.Header("Expect", "100-continue"), 413},
	} {
		t.Run(name, func(t *testing.T) {
			b.ask("POST", "/v1/api/rooms/A1B2C3/broadcast", huge, c.change).Want(t, c.status)
		})
	}
}

// TestBodyThatDoesNotCome: a client without a key that announces a body and does not
// send it holds its connection only for a moment.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	b := startAPI(t)
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout - lingerTimeout))
	_, _ = io.WriteString(conn, "POST /v1/api/rooms HTTP/1.1\r\nHost: "+b.addr+"\r\nContent-Length: 1000\r\n\r\n{")
	text, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 401 ") {
		t.Errorf("answered %q, %v", text, err)
	}
}
