package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
)

// crowdTimeout bounds the life of one viewer of the crowd.
const crowdTimeout = time.Minute

// TestFiveThousandViewers fills three rooms, whose hosts speak at the same
// time. Each viewer gets what its own host says, verbatim, in order and once,
// and then the end of the room; nothing is left in the relay afterwards.
func TestFiveThousandViewers(t *testing.T) {
	rooms := []int{2500, 1500, 1000} // viewers
	const total = 5000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < total+200 {
		Missing(t, fmt.Sprintf("only %d descriptors a process are allowed here", limit.Max))
	}
	b := startBinary(t)
	if n := b.metric("lectern_viewers"); n != 0 {
		t.Fatalf("%g viewers before the first", n)
	}
	descriptors := b.descriptors()

	var viewers sync.WaitGroup
	failures := make(chan error, total)
	joined := make(chan struct{}, total)
	dialing := make(chan struct{}, 64) // as many at a time
	hosts := make([]*websocket.Conn, len(rooms))
	says := make([][]string, len(rooms))
	for i, size := range rooms {
		var code string
		hosts[i], code = openRoom(t, b)
		says[i] = speech(i)
		for range size {
			viewers.Go(func() {
				if err := watch(b.addr, code, says[i], dialing, joined); err != nil {
					failures <- err
				}
			})
		}
	}
	for n := range total {
		select {
		case <-joined:
		case err := <-failures:
			t.Fatal(err)
		case <-time.After(crowdTimeout):
			t.Fatalf("only %d have joined", n)
		}
	}
	if n := b.metric("lectern_viewers"); n != total {
		t.Errorf("the metrics count %g viewers, want %d", n, total)
	}

	var speaking sync.WaitGroup
	for i, host := range hosts {
		speaking.Go(func() { speak(failures, host, says[i]) })
	}
	speaking.Wait()
	viewers.Wait()
	close(failures)
	shown := 0
	for err := range failures {
		if shown++; shown <= 5 {
			t.Error(err)
		}
	}
	if shown > 5 {
		t.Errorf("and %d more", shown-5)
	}

	for _, host := range hosts {
		expect(t, host, `{"type":"closed","reason":"host_closed"}`)
		_ = host.CloseNow()
	}
	eventually(t, "the relay is empty", func() bool {
		return b.metric("lectern_viewers") == 0 && b.metric("lectern_rooms") == 0 &&
			b.metric(`lectern_connections{phase="open"}`) == 0 && b.metric("lectern_log_bytes") == 0
	})
	eventually(t, "the descriptors are given back", func() bool { return b.descriptors() <= descriptors })
	if n, want := b.metric(`lectern_closes_total{reason="host_closed"}`), float64(total); n != want {
		t.Errorf("%g connections ended with host_closed, want %g", n, want)
	}
	deliveries := 0
	for i, size := range rooms {
		deliveries += size * len(says[i])
	}
	if n := b.metric("lectern_messages_delivered_total"); n != float64(deliveries) {
		t.Errorf("the metrics count %g deliveries, want %d", n, deliveries)
	}
}

// speech returns what a host says: messages of very different sizes, no two of them
// equal.
func speech(room int) []string {
	texts := make([]string, 40)
	for i := range texts {
		texts[i] = fmt.Sprintf(`{ "type":"command", "data":"room %d, message %d %s" }`, room, i, strings.Repeat("é", i*i%700))
	}
	return texts
}

// speak sends all texts and closes the room.
func speak(failures chan<- error, host *websocket.Conn, texts []string) {
	ctx, cancel := context.WithTimeout(context.Background(), crowdTimeout)
	defer cancel()
	for _, text := range append(texts[:len(texts):len(texts)], `{"type":"close"}`) {
		if err := host.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			failures <- fmt.Errorf("host: %w", err)
			return
		}
	}
}

// watch is the life of one viewer: it joins and expects the texts and then the
// room's end, exactly.
func watch(addr, code string, texts []string, dialing, joined chan struct{}) error {
	dialing <- struct{}{}
	conn, r, err := enter(addr, code)
	<-dialing
	if err != nil {
		return err
	}
	defer conn.Close()
	joined <- struct{}{}

	for i, text := range append(texts[:len(texts):len(texts)], `{"type":"closed","reason":"host_closed"}`) {
		if err := expectFrame(r, ws.OpText, []byte(text)); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	goodbye := ws.NewCloseFrameBody(4000, "host_closed")
	if err := expectFrame(r, ws.OpClose, goodbye); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(goodbye))); err != nil {
		return err
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the close: %w, want the end", err)
	}
	return nil
}

// enter connects and joins. The reader holds the bytes that have come already.
func enter(addr, code string) (net.Conn, *bufio.Reader, error) {
	ctx, cancel := context.WithTimeout(context.Background(), crowdTimeout)
	defer cancel()
	dialer := ws.Dialer{ReadBufferSize: 1024, WriteBufferSize: 1024}
	conn, r, _, err := dialer.Dial(ctx, "ws://"+addr+"/")
	if err != nil {
		return nil, nil, err
	}
	if r == nil {
		r = bufio.NewReaderSize(conn, 1024)
	}
	err = errors.Join(
		conn.SetDeadline(time.Now().Add(crowdTimeout)),
		ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame([]byte(`{"type":"join","code":"`+code+`"}`)))),
		expectJoined(r, code),
	)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, r, nil
}

// expectJoined reads the answer to a join.
func expectJoined(r io.Reader, code string) error {
	got, err := ws.ReadFrame(r)
	if err != nil {
		return err
	}
	if want := `{"type":"joined","code":"` + code + `",`; !strings.HasPrefix(string(got.Payload), want) {
		return fmt.Errorf("join was answered %s, want %s...", got.Payload, want)
	}
	return nil
}

// expectFrame reads one frame and compares it.
func expectFrame(r io.Reader, op ws.OpCode, want []byte) error {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return fmt.Errorf("instead of %.80q: %w", want, err)
	}
	if h.Length > 1<<20 {
		return fmt.Errorf("a frame of %d bytes", h.Length)
	}
	got := make([]byte, h.Length)
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !h.Fin || h.Masked || h.Rsv != 0 || h.OpCode != op || !bytes.Equal(got, want) {
		return fmt.Errorf("got %+v %.80q, want %.80q", h, got, want)
	}
	return nil
}
