package scenario

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/wire"
	"lectern/bench/workload"
)

// upgraded answers a handshake.
func upgraded(conn net.Conn) (*bufio.Reader, error) {
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	return in, err
}

// reset closes a connection without a word of TCP's.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// brokenServer serves hosts as the topic preset wants it, and viewers as badly
// as viewer says. The first connection is the host's.
func brokenServer(t *testing.T, viewer func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.Map
	var group sync.WaitGroup
	var n atomic.Int64
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, true)
			if n.Add(1) > 1 {
				group.Go(func() { viewer(conn) })
				continue
			}
			group.Go(func() {
				if in, err := upgraded(conn); err == nil {
					_, _ = io.Copy(io.Discard, in)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		group.Wait()
	})
	return "ws://" + l.Addr().String() + "/"
}

// TestBrokenServers has a server break in each stage: the bench ends by itself
// and says what happened to how many.
func TestBrokenServers(t *testing.T) {
	t.Parallel()
	const viewers = 10
	after101 := func(then string) func(net.Conn) {
		return func(conn net.Conn) {
			if _, err := upgraded(conn); err == nil {
				_, _ = io.WriteString(conn, then)
			}
		}
	}
	for name, test := range map[string]struct {
		viewer func(net.Conn)
		stage  report.Stage
		reason string
	}{
		"answers 503": {func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		}, report.StageHandshake, "HTTP 503"},
		"resets the handshake":  {func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)); reset(conn) }, report.StageHandshake, "connection reset by peer"},
		"closes the handshake":  {func(conn net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(conn)); _ = conn.Close() }, report.StageHandshake, "closed without a word"},
		"never answers":         {func(net.Conn) {}, report.StageHandshake, "no answer in time"},
		"speaks something else": {func(conn net.Conn) { _, _ = io.WriteString(conn, "220 mail.example.org ESMTP\r\n") }, report.StageHandshake, "breaks the protocol"},
		"answers with a wrong key": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: x\r\n\r\n")
		}, report.StageHandshake, "breaks the protocol"},
		"sends an endless head":      {func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 101 "+strings.Repeat("x", 2*wire.MaxHead)) }, report.StageHandshake, "breaks the protocol"},
		"sends garbage":              {after101("\xff\xff\xff\xff\xff\xff"), report.StageFirst, "breaks the protocol"},
		"sends a masked frame":       {after101("\x81\x81abcd!"), report.StageFirst, "breaks the protocol"},
		"declares a frame too large": {after101("\x82\x7f\x00\x00\x10\x00\x00\x00\x00\x00"), report.StageFirst, "breaks the protocol"},
		"closes with a code":         {after101("\x88\x02\x03\xf5"), report.StageFirst, "close frame 1013"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Small(brokenServer(t, test.viewer))
			o.Template, _ = workload.Preset("topic")
			o.Viewers, o.Timeout = viewers, 2*time.Second
			begun := time.Now()
			res, err := runSmall(t, Fanout{}, o)
			if !errors.Is(err, report.ErrFailed) {
				t.Errorf("the error is %v", err)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			got := countFaults(res, "viewer", test.stage, test.reason)
			if got != viewers {
				t.Errorf("%d of %d viewers: %+v", got, viewers, res.Faults)
			}
		})
	}
}

func countFaults(res *report.Result, who string, stage report.Stage, reason string) (n int) {
	for _, f := range res.Faults {
		if f.Who == who && f.Stage == stage && f.Reason == reason {
			n += f.Count
		}
	}
	return n
}

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + l.Addr().String() + "/"
	_ = l.Close()
	res, err := runSmall(t, Fanout{}, Small(url))
	if !errors.Is(err, report.ErrFailed) || countFaults(res, "host", report.StageConnect, "connection refused") != 1 {
		t.Errorf("%v: %+v", err, res.Faults)
	}
}

func TestServerRefusesJoins(t *testing.T) {
	t.Parallel()
	r := &Relay{Refuse: "room_full"}
	o := Small(r.Start(t))
	res, err := runSmall(t, Fanout{}, o)
	if !errors.Is(err, report.ErrFailed) || countFaults(res, "viewer", report.StageJoin, "refused") != o.Viewers {
		t.Errorf("%v: %+v", err, res.Faults)
	}
	if !strings.Contains(res.Faults[0].Example, "room_full") {
		t.Errorf("the example is %q", res.Faults[0].Example)
	}
}

// TestServerClosesHalf closes half of the viewers in the middle: the others are
// served to the end, and what the closed ones did not get is missing.
func TestServerClosesHalf(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	r.Before = func(n int) {
		if n != 100 {
			return
		}
		for _, rm := range r.Rooms {
			for _, v := range rm.Viewers[:len(rm.Viewers)/2] {
				_ = v.Conn.CloseNow()
			}
		}
	}
	o := Small(r.Start(t))
	o.Rate, o.Duration = 200, time.Second
	res, err := runSmall(t, Fanout{}, o)
	if !errors.Is(err, report.ErrFailed) {
		t.Errorf("the error is %v", err)
	}
	p := res.Phases[0]
	if p.Gone != o.Viewers/2 || p.Delivered+p.Missing != p.Expected || p.Lost != p.Missing || p.Lost < uint64(p.Gone)*90 {
		t.Errorf("%d gone, %d missing, %d delivered and %d lost of %d", p.Gone, p.Missing, p.Delivered, p.Lost, p.Expected)
	}
	if n := countFaults(res, "viewer", report.StageLive, "closed without a word"); n != o.Viewers/2 {
		t.Errorf("%+v", res.Faults)
	}
}

// TestServerDies has everything end in the middle.
func TestServerDies(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Rooms: map[string]*Room{}}
	conns := make(chan net.Conn, 100)
	srv := &http.Server{Handler: r, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns <- c
		}
	}}
	served := make(chan struct{})
	go func() {
		_ = srv.Serve(l)
		close(served)
	}()
	t.Cleanup(func() { <-served })
	r.Before = func(n int) {
		if n == 100 {
			_ = srv.Close()
			for len(conns) > 0 {
				reset(<-conns)
			}
		}
	}
	o := Small("ws://" + l.Addr().String() + "/")
	o.Rate, o.Duration = 200, 20*time.Second
	begun := time.Now()
	res, err := runSmall(t, Fanout{}, o)
	if !errors.Is(err, report.ErrFailed) {
		t.Errorf("the error is %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v to see that nobody was left", took)
	}
	p := res.Phases[0]
	if p.Gone != o.Viewers {
		t.Errorf("%d of %d gone: %+v", p.Gone, o.Viewers, res.Faults)
	}
	if p.Missing == 0 || p.Missing != p.Expected-p.Delivered {
		t.Errorf("%d missing, but %d of %d were delivered", p.Missing, p.Delivered, p.Expected)
	}
}

// TestServerGoesSilent has the relay take everything and deliver nothing.
func TestServerGoesSilent(t *testing.T) {
	t.Parallel()
	r := &Relay{Deliver: func(_, n int, m []byte) [][]byte {
		if n >= 50 {
			return nil
		}
		return [][]byte{m}
	}}
	o := Small(r.Start(t))
	o.Rate, o.Duration, o.Drain = 100, time.Second, 500*time.Millisecond
	res, err := runSmall(t, Fanout{}, o)
	if !errors.Is(err, report.ErrFailed) || res.Phases[0].Missing != uint64(50*o.Viewers) {
		t.Errorf("%v: %+v", err, res.Phases[0].Trouble)
	}
}

// TestInterruptGivesResultsSoFar has only the interruption reported as a problem.
func TestInterruptGivesResultsSoFar(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := &Relay{Before: func(n int) {
		if n == 100 {
			cancel()
		}
	}}
	o := Small(r.Start(t))
	o.Rate, o.Duration = 100, time.Minute
	begun := time.Now()
	res, err := engine.Run(ctx, Fanout{}, o, io.Discard)
	if !errors.Is(err, report.ErrInterrupted) || len(res.Problems) != 1 || res.Problems[0] != "interrupted" {
		t.Errorf("%v: %q", err, res.Problems)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v to end", took)
	}
	p := res.Phases[0]
	if !res.Interrupted || p.Delivered == 0 || p.Delivered != p.Expected || p.Trouble != (report.Trouble{}) {
		t.Errorf("interrupted %t, %d of %d delivered, %+v", res.Interrupted, p.Delivered, p.Expected, p.Trouble)
	}
}

// TestInterruptWhileViewersComeAndGo has viewers that are on the way not count as lost.
func TestInterruptWhileViewersComeAndGo(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]engine.Scenario{
		"resume": Resume{Share: 1, Every: 20 * time.Millisecond, Away: 10 * time.Millisecond},
		"late":   Late{Over: 16 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lecture{}
			o := Small(l.start(t))
			o.Viewers, o.Rate, o.Duration, o.Drain = 16, 20, 4*time.Second, 10*time.Second
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() {
				for l.moves() < 3 {
					time.Sleep(10 * time.Millisecond)
				}
				cancel()
			}()
			res, err := engine.Run(ctx, s, o, io.Discard)
			if !errors.Is(err, report.ErrInterrupted) || len(res.Problems) != 1 || len(res.Faults) != 0 {
				t.Errorf("%v: %q, %+v", err, res.Problems, res.Faults)
			}
			if p := res.Phases[len(res.Phases)-1]; p.Delivered == 0 || p.Delivered != p.Expected || p.Gone != 0 {
				t.Errorf("%d of %d delivered, %d gone, %+v", p.Delivered, p.Expected, p.Gone, p.Trouble)
			}
		})
	}
}

// TestLossDuringTheWarmUpIsAFault has a viewer closed before anything is
// measured.
func TestLossDuringTheWarmUpIsAFault(t *testing.T) {
	t.Parallel()
	r := &Relay{Warm: func(n int, rm *Room) {
		if n == 20 {
			_ = rm.Viewers[0].Conn.CloseNow()
		}
	}}
	o := Small(r.Start(t))
	o.Rate, o.Duration, o.Warmup = 100, 500*time.Millisecond, 500*time.Millisecond
	res, err := runSmall(t, Fanout{}, o)
	if !errors.Is(err, report.ErrFailed) || countFaults(res, "viewer", report.StageLive, "closed without a word") != 1 {
		t.Errorf("%v: %+v", err, res.Faults)
	}
	if p := res.Phases[0]; p.Viewers != o.Viewers-1 || p.Missing != 0 {
		t.Errorf("%d viewers, %d missing", p.Viewers, p.Missing)
	}
}
