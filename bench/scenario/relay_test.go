package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lectern/bench/stamp"
	"lectern/bench/wire"
	"lectern/bench/workload"

	"github.com/coder/websocket"
)

// A Relay is a small classroom relay on another implementation of WebSocket,
// with a fault to order.
type Relay struct {
	// Deliver says what a viewer gets for its n-th measured message, counted
	// from 0. Default: the message.
	Deliver func(viewer, n int, message []byte) [][]byte
	// Before is called before each broadcast of a measured message, with the
	// relay locked.
	Before func(n int)
	// Warm is called before each other message that has a stamp.
	Warm   func(n int, rm *Room)
	Refuse string // answers joins with this error
	Key    string // what a message that opens a room must carry

	From map[string]int // if made, counts connections by address; guarded by mu

	mu      sync.Mutex
	Rooms   map[string]*Room  // guarded by mu
	Hosts   []*websocket.Conn // guarded by mu
	pending sync.WaitGroup
}

type Room struct {
	Viewers []*Viewer
	n       int // measured messages
	others  int // with a stamp
}

type Viewer struct {
	Conn *websocket.Conn // nil for an event stream
	out  chan []byte
	id   int
	n    int // guarded by the relay's mu
}

// Opened returns how many rooms were opened.
func (r *Relay) Opened() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.Rooms)
}

// Start serves the relay until the test ends and returns its URL.
func (r *Relay) Start(t *testing.T) string {
	t.Helper()
	r.Rooms = map[string]*Room{}
	srv := httptest.NewServer(r)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		r.pending.Wait()
	})
	return strings.Replace(srv.URL, "http", "ws", 1) + "/"
}

var joinCode = regexp.MustCompile(`"code":"([^"]+)"`)

func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if code, ok := strings.CutSuffix(req.URL.Path, "/events"); ok {
		if code = strings.TrimPrefix(code, "/v1/rooms/"); req.URL.Query().Has("wait") {
			r.poll(w, req, code)
		} else {
			r.stream(w, code)
		}
		return
	}
	conn, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil && r.From != nil {
		r.mu.Lock()
		r.From[host]++
		r.mu.Unlock()
	}
	conn.SetReadLimit(wire.MaxFrame)
	ctx := context.Background()
	_, first, err := conn.Read(ctx)
	if err != nil {
		return
	}
	if bytes.Contains(first, []byte(`"create"`)) {
		if key := keyOf(first); key != r.Key {
			quoted, _ := json.Marshal(key)
			_ = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"error","error":"wrong_key","was":`+string(quoted)+`}`))
			return
		}
		r.host(ctx, conn)
		return
	}
	r.viewer(ctx, conn, string(joinCode.FindSubmatch(first)[1]))
}

func (r *Relay) host(ctx context.Context, conn *websocket.Conn) {
	r.mu.Lock()
	code := fmt.Sprintf("%06X", len(r.Rooms)+1)
	rm := &Room{}
	r.Rooms[code] = rm
	r.Hosts = append(r.Hosts, conn)
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

func (r *Relay) broadcast(rm *Room, message []byte, measured bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if measured && r.Before != nil {
		r.Before(rm.n)
	}
	if !measured {
		if r.Warm != nil {
			r.Warm(rm.others, rm)
		}
		rm.others++
	}
	for _, v := range rm.Viewers {
		out := [][]byte{message}
		if measured {
			if r.Deliver != nil {
				out = r.Deliver(v.id, v.n, message)
			}
			v.n++
		}
		for _, m := range out {
			if v.Conn == nil {
				s, verdict := stamp.Parse(m[max(bytes.Index(m, []byte(stamp.Marker)), 0):])
				if verdict == stamp.AllDamaged {
					s, _ = stamp.Parse(message[bytes.Index(message, []byte(stamp.Marker)):])
				}
				m = fmt.Appendf(nil, "id: e-%d\nevent: command\ndata: %s\n\n", s.Seq, m)
			}
			v.out <- m
		}
	}
	if measured {
		rm.n++
	}
}

func (r *Relay) viewer(ctx context.Context, conn *websocket.Conn, code string) {
	if r.Refuse != "" {
		_ = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"error","error":"`+r.Refuse+`"}`))
		_, _, _ = conn.Read(ctx)
		return
	}
	v := &Viewer{Conn: conn, out: make(chan []byte, 10000)}
	v.out <- []byte(`{"type":"joined","code":"` + code + `"}`)
	r.join(v, code)
	done := conn.CloseRead(ctx)
	for {
		select {
		case m := <-v.out:
			if len(m) > len(DelayMark) && string(m[:len(DelayMark)]) == DelayMark {
				time.Sleep(DelayTime)
				m = m[len(DelayMark):]
			}
			if conn.Write(ctx, websocket.MessageText, m) != nil {
				return
			}
		case <-done.Done():
			return
		}
	}
}

// join counts a viewer in.
func (r *Relay) join(v *Viewer, code string) (id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rm := r.Rooms[code]
	v.id = len(rm.Viewers)
	rm.Viewers = append(rm.Viewers, v)
	return v.id
}

// stream serves a viewer with an event stream.
func (r *Relay) stream(w http.ResponseWriter, code string) {
	conn, _, err := http.NewResponseController(w).Hijack() // net/http would send chunks
	if err != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
		close(ended)
	}()
	v := &Viewer{out: make(chan []byte, 10000)}
	v.out <- []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: padding\n\nretry: 100\n\nid: e-0\nevent: joined\ndata: {\"type\":\"joined\",\"seq\":0}\n\n")
	r.join(v, code)
	for {
		select {
		case m := <-v.out:
			_, _ = conn.Write(m)
		case <-ended:
			return
		}
	}
}

// poll answers a viewer with what there is, or with the first thing that comes. A viewer
// without a token joins.
func (r *Relay) poll(w http.ResponseWriter, req *http.Request, code string) {
	i, err := strconv.Atoi(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		v := &Viewer{out: make(chan []byte, 10000)}
		i = r.join(v, code)
		v.out <- fmt.Appendf(nil, "id: e-0\nevent: joined\ndata: {\"type\":\"joined\",\"token\":\"%d\",\"epoch\":\"e\",\"seq\":0}\n\n", i)
	}
	r.mu.Lock()
	v := r.Rooms[code].Viewers[i]
	r.mu.Unlock()
	var body []byte
	select {
	case body = <-v.out:
	case <-req.Context().Done():
		return
	}
	for len(v.out) > 0 {
		body = append(body, <-v.out...)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header()["Date"] = nil
	_, _ = w.Write(body)
}

// A message that begins with DelayMark is sent without it, DelayTime later.
const (
	DelayMark = "DELAY:"
	DelayTime = 2 * time.Second
)

// Small are options for a run in a test.
func Small(url string) workload.Options {
	return workload.Options{URL: url, Viewers: 8, Rate: 1000, Size: 128, Duration: 2 * time.Second, Warmup: 100 * time.Millisecond,
		Timeout: 20 * time.Second, Drain: 20 * time.Second}
}

// keyOf returns the key of a message that opens a room.
func keyOf(t []byte) string {
	var m struct{ Key string }
	_ = json.Unmarshal(t, &m)
	return m.Key
}
