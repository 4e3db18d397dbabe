package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/wire"
	"lectern/bench/workload"

	"github.com/coder/websocket"
)

// A relay is a small classroom relay on another implementation of WebSocket,
// with a fault to order.
type relay struct {
	// deliver says what a viewer gets for its n-th measured message, counted
	// from 0. Default: the message.
	deliver func(viewer, n int, message []byte) [][]byte
	// before is called before each broadcast of a measured message, with the
	// relay locked.
	before func(n int)
	// warm is called before each other message that has a stamp.
	warm   func(n int, rm *relayRoom)
	refuse string // answers joins with this error
	key    string // what a message that opens a room must carry

	from map[string]int // if made, counts connections by address; guarded by mu

	mu      sync.Mutex
	rooms   map[string]*relayRoom // guarded by mu
	hosts   []*websocket.Conn     // guarded by mu
	pending sync.WaitGroup
}

type relayRoom struct {
	viewers []*relayViewer
	n       int // measured messages
	others  int // with a stamp
}

type relayViewer struct {
	conn *websocket.Conn
	out  chan []byte
	id   int
	n    int // guarded by the relay's mu
}

// start serves the relay until the test ends and returns its URL.
func (r *relay) start(t *testing.T) string {
	t.Helper()
	r.rooms = map[string]*relayRoom{}
	srv := httptest.NewServer(r)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		r.pending.Wait()
	})
	return strings.Replace(srv.URL, "http", "ws", 1) + "/"
}

var joinCode = regexp.MustCompile(`"code":"([^"]+)"`)

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	conn, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil && r.from != nil {
		r.mu.Lock()
		r.from[host]++
		r.mu.Unlock()
	}
	conn.SetReadLimit(wire.MaxFrame)
	ctx := context.Background()
	_, first, err := conn.Read(ctx)
	if err != nil {
		return
	}
	if bytes.Contains(first, []byte(`"create"`)) {
		if key := keyOf(first); key != r.key {
			quoted, _ := json.Marshal(key)
			_ = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"error","error":"wrong_key","was":`+string(quoted)+`}`))
			return
		}
		r.host(ctx, conn)
		return
	}
	r.viewer(ctx, conn, string(joinCode.FindSubmatch(first)[1]))
}

func (r *relay) host(ctx context.Context, conn *websocket.Conn) {
	r.mu.Lock()
	code := fmt.Sprintf("%06X", len(r.rooms)+1)
	rm := &relayRoom{}
	r.rooms[code] = rm
	r.hosts = append(r.hosts, conn)
	r.mu.Unlock()
	_ = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"created","code":"`+code+`"}`))
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if i := bytes.Index(message, []byte(stamp.Marker)); i >= 0 {
			s, _ := stamp.Parse(message[i:])
			r.broadcast(rm, message, s.Kind == stamp.Measured)
		}
	}
}

func (r *relay) broadcast(rm *relayRoom, message []byte, measured bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if measured && r.before != nil {
		r.before(rm.n)
	}
	if !measured {
		if r.warm != nil {
			r.warm(rm.others, rm)
		}
		rm.others++
	}
	for _, v := range rm.viewers {
		out := [][]byte{message}
		if measured {
			if r.deliver != nil {
				out = r.deliver(v.id, v.n, message)
			}
			v.n++
		}
		for _, m := range out {
			v.out <- m
		}
	}
	if measured {
		rm.n++
	}
}

func (r *relay) viewer(ctx context.Context, conn *websocket.Conn, code string) {
	if r.refuse != "" {
		_ = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"error","error":"`+r.refuse+`"}`))
		_, _, _ = conn.Read(ctx)
		return
	}
	v := &relayViewer{conn: conn, out: make(chan []byte, 10000)}
	v.out <- []byte(`{"type":"joined","code":"` + code + `"}`)
	r.mu.Lock()
	rm := r.rooms[code]
	v.id = len(rm.viewers)
	rm.viewers = append(rm.viewers, v)
	r.mu.Unlock()
	done := conn.CloseRead(ctx)
	for {
		select {
		case m := <-v.out:
			if len(m) > len(delayMark) && string(m[:len(delayMark)]) == delayMark {
				time.Sleep(delayTime)
				m = m[len(delayMark):]
			}
			if conn.Write(ctx, websocket.MessageText, m) != nil {
				return
			}
		case <-done.Done():
			return
		}
	}
}

// A message that begins with delayMark is sent without it, delayTime later.
const (
	delayMark = "DELAY:"
	delayTime = 2 * time.Second
)

// small are options for a run in a test.
func small(url string) workload.Options {
	return workload.Options{URL: url, Viewers: 8, Rate: 1000, Size: 128, Duration: 2 * time.Second, Warmup: 100 * time.Millisecond,
		Timeout: 5 * time.Second, Drain: 2 * time.Second}
}

// runSmall runs a scenario silently.
func runSmall(t *testing.T, s Scenario, o workload.Options) (*report.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := Run(ctx, s, o, io.Discard)
	if res == nil {
		t.Fatalf("no result: %v", err)
	}
	return res, err
}

// preset returns a template that comes with the program.
func preset(name string) workload.Template {
	t, err := workload.Preset(name)
	if err != nil {
		panic(err)
	}
	return t
}
