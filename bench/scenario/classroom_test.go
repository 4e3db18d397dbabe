package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"lectern/bench/stamp"
	"lectern/bench/wire"

	"github.com/coder/websocket"
)

// A lecture is a small relay that keeps the numbers and histories of the
// classroom protocol, with a fault to order.
type lecture struct {
	// resume says what a viewer gets that comes back with number last when
	// the room is at newest, and after which number its stream goes on.
	// Default: last, true, last.
	resume func(last, newest int) (seq int, recovered bool, after int)
	// first says what a viewer gets for its first measured message after it came
	// back, or after its history. Default: the message.
	first func(message []byte) [][]byte
	// number says which number goes with a message. Default: its own.
	number func(seq int, first bool) int
	// history says what goes out for the history. Default: the history.
	history func(text []byte) [][]byte
	without int  // number of a message that the relay's histories leave out
	refuse  bool // no viewer may come back

	mu      sync.Mutex
	rooms   map[string]*lectureRoom // guarded by mu
	firsts  int                     // guarded by mu; how often first applied
	wrong   int                     // guarded by mu; wrong numbers that were given
	returns int                     // guarded by mu; how often one came back
	asked   int                     // guarded by mu; how often one joined with the history
	missed  int                     // guarded by mu; messages that viewers were told to be lost
	pending sync.WaitGroup
}

// All of it is guarded by the lecture's mu.
type lectureRoom struct {
	code      string
	relay     bool // keeps the history itself
	host      chan []byte
	messages  [][]byte
	listeners map[*listener]bool
	ids       int
}

type listener struct {
	out             chan []byte
	numbered, first bool
	parked          bool
}

// times returns how often something went wrong.
func (l *lecture) times() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.first != nil:
		return uint64(l.firsts)
	case l.number != nil:
		return uint64(l.wrong)
	default:
		return uint64(l.returns)
	}
}

// moves returns how often a viewer came back, or came late.
func (l *lecture) moves() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.returns + l.asked
}

func (l *lecture) start(t *testing.T) string {
	t.Helper()
	l.rooms = map[string]*lectureRoom{}
	srv := httptest.NewServer(l)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		l.pending.Wait()
	})
	return strings.Replace(srv.URL, "http", "ws", 1) + "/"
}

// A lectureRequest is any message of a client.
type lectureRequest struct {
	Type, Code, Token, History string
	Numbered                   bool
	Asks                       bool
	Seq                        int
}

func readRequest(text []byte) (r lectureRequest) {
	var asks struct{ History bool }
	r.Asks = json.Unmarshal(text, &asks) == nil && asks.History
	_ = json.Unmarshal(bytes.Replace(text, []byte(`"history":true`), []byte(`"x":0`), 1), &r)
	return r
}

func (l *lecture) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	conn, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(wire.MaxFrame)
	ctx := context.Background()
	_, first, err := conn.Read(ctx)
	if err != nil {
		return
	}
	out := make(chan []byte, 10000)
	ended := make(chan struct{})
	l.pending.Go(func() {
		for {
			select {
			case m := <-out:
				if conn.Write(ctx, websocket.MessageText, m) != nil {
					return
				}
			case <-ended:
				return
			}
		}
	})
	defer close(ended)
	if r := readRequest(first); r.Type == "create" {
		l.hear(ctx, conn, r, out)
	} else {
		l.listen(ctx, conn, r, out)
	}
}

// hear serves a host.
func (l *lecture) hear(ctx context.Context, conn *websocket.Conn, r lectureRequest, out chan []byte) {
	l.mu.Lock()
	rm := &lectureRoom{code: fmt.Sprintf("%06X", len(l.rooms)+1), relay: r.History == "relay", host: out, listeners: map[*listener]bool{}}
	l.rooms[rm.code] = rm
	l.mu.Unlock()
	out <- []byte(`{"type":"created","code":"` + rm.code + `"}`)
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return
		}
		l.mu.Lock()
		switch readRequest(text[:len(text):len(text)]).Type {
		case "command":
			rm.messages = append(rm.messages, text)
			for v := range rm.listeners {
				if !v.parked {
					l.send(v, len(rm.messages), text)
				}
			}
		case "history":
			for v := range rm.listeners {
				if v.parked {
					l.tell(v, text, len(rm.messages))
				}
			}
		}
		l.mu.Unlock()
	}
}

// listen serves a viewer.
func (l *lecture) listen(ctx context.Context, conn *websocket.Conn, r lectureRequest, out chan []byte) {
	v := &listener{out: out, numbered: r.Numbered}
	l.mu.Lock()
	rm := l.rooms[r.Code]
	back := r.Token != ""
	seq, after, extra := len(rm.messages), len(rm.messages), ""
	if back {
		recovered := true
		l.returns++
		seq, after = r.Seq, r.Seq
		if l.resume != nil {
			seq, recovered, after = l.resume(r.Seq, len(rm.messages))
		}
		if !recovered {
			l.missed += seq - r.Seq
		}
		extra = fmt.Sprintf(`,"recovered":%t`, recovered)
	}
	rm.ids++
	if back && l.refuse {
		out <- []byte(`{"type":"error","error":"bad_token"}`)
	} else {
		out <- fmt.Appendf(nil, `{"type":"joined","code":%q,"id":%d,"token":"t%d","epoch":"e","seq":%d%s}`, rm.code, rm.ids, rm.ids, seq, extra)
		v.first = back
		for i := after; i < len(rm.messages); i++ {
			l.send(v, i+1, rm.messages[i])
		}
		rm.listeners[v] = true
	}
	if r.Asks {
		l.asked++
	}
	switch {
	case r.Asks && rm.relay:
		l.tell(v, historyOf(rm.messages, l.without), len(rm.messages))
	case r.Asks:
		v.parked = true
		rm.host <- []byte(`{"type":"history_request"}`)
	}
	l.mu.Unlock()
	_, _, _ = conn.Read(ctx)
	l.mu.Lock()
	delete(rm.listeners, v)
	l.mu.Unlock()
}

// tell gives a listener its history, in the room's order. It is called with the
// lecture locked.
func (l *lecture) tell(v *listener, text []byte, seq int) {
	if v.numbered && !bytes.Contains(text, []byte(`"seq"`)) {
		text = fmt.Appendf(nil, `{"seq":%d,%s`, seq, text[1:])
	}
	texts := [][]byte{text}
	if l.history != nil {
		texts = l.history(text)
	}
	for _, text := range texts {
		v.out <- text
	}
	v.parked, v.first = false, true
}

// send gives a listener a message. It is called with the lecture locked.
func (l *lecture) send(v *listener, seq int, text []byte) {
	s, _ := stamp.Parse(text[bytes.Index(text, []byte(stamp.Marker)):])
	first := v.first && s.Kind == stamp.Measured
	texts := [][]byte{text}
	if first {
		v.first = false
		l.firsts++
		if l.first != nil {
			texts = l.first(text)
		}
	}
	for _, text := range texts {
		if v.numbered {
			n := seq
			if l.number != nil {
				n = l.number(seq, first)
			}
			if n != seq {
				l.wrong++
			}
			text = fmt.Appendf(nil, `{"seq":%d,%s`, n, text[1:])
		}
		select {
		case v.out <- text:
		default: // it is gone
		}
	}
}

// historyOf returns the history of messages, as the relay tells it, without the message of
// one number. 0 leaves none out.
func historyOf(said [][]byte, without int) []byte {
	var commands, messages [][]byte
	for i, m := range said {
		if i+1 == without {
			continue
		}
		_, data, _ := bytes.Cut(m, []byte(`"data":`))
		commands = append(commands, data[:len(data)-1])
		messages = append(messages, m)
	}
	comma := []byte(",")
	return fmt.Appendf(nil, `{"type":"history","commands":[%s],"messages":[%s],"seq":%d}`, bytes.Join(commands, comma), bytes.Join(messages, comma), len(said))
}
