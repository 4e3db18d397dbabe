package hub

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/budget"
)

// Attacks with compressed messages. The relay bounds its work by counts and sizes,
// which are checked here, and not the time.

// bomb returns a compressed message of n bytes of white space.
func bomb(n int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = io.Copy(w, io.LimitReader(spaces{}, int64(n)))
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestACrowdOfBombs comes in one chunk from a viewer. Those beyond the rate are
// refused without a look at them, and the connection ends for its mistakes.
func TestACrowdOfBombs(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	v := r.compressingViewer(0, code, "")
	_ = v.frames()
	inflated := r.hub.Stats().Compression.Inflated
	v.bytes(bytes.Repeat(compressedFrame(bomb(64<<10)), 600))
	r.run()
	all := v.frames()
	tooLarge, tooFast := 0, 0
	for _, text := range all {
		tooLarge += strings.Count(text, `"too_large"`)
		tooFast += strings.Count(text, `"too_fast"`)
	}
	c := r.hub.Stats().Compression
	if rate := uint64(r.hub.Config().ViewerRate); c.Inflated-inflated > rate || c.TooLarge > rate {
		t.Errorf("600 bombs: %+v", c)
	}
	if tooLarge != 9 || tooFast == 0 || all[len(all)-1] != "close 4429" { // joining was the tenth message
		t.Errorf("heard %d times too_large, %d times too_fast, at last %q", tooLarge, tooFast, all[len(all)-1])
	}
	if n := r.hub.budget.Used(budget.Input); n != 0 {
		t.Errorf("%d bytes of input are still counted", n)
	}
}

// TestBombsShareTheWorker: other connections are served between them.
func TestBombsShareTheWorker(t *testing.T) {
	r := newTestRelay(t, 1, Config{ViewerRate: 1 << 30})
	_, code := r.host(0)
	v := r.compressingViewer(0, code, "")
	blocks := bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), inflateInline/5)
	v.bytes(bytes.Repeat(compressedFrame(append(blocks, 0)), 12)) // 60 KB: some 40 us each
	visits := 0
	for r.workers[0].step() {
		visits++
	}
	if visits < 2 {
		t.Errorf("all in %d visits", visits)
	}
}

// TestAHostsBomb is inflated in the worker up to 128 KiB, and then in a goroutine up
// to the limit. Nothing of it waits half inflated.
func TestAHostsBomb(t *testing.T) {
	const limit = 1 << 20
	for name, test := range map[string]struct {
		payload    []byte
		goroutines int
		want       string
	}{
		"within the worker's share": {deflated(longCommand(inflateOutput - 100)), 0, ""},
		"a little more":             {bomb(inflateOutput + 1), 1, "bad_message"},
		"the most that is allowed":  {bomb(limit), 1, "bad_message"},
		"one byte more":             {bomb(limit + 1), 1, "too_large"},
		"far more":                  {bomb(100 * limit), 1, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			host := r.dialDeflate(0, here)
			host.say(`{"type":"create"}`)
			host.hears(`{"type":"created"*`)
			var work []func()
			r.hub.background = func(f func()) { work = append(work, f) }
			host.bytes(compressedFrame(test.payload))
			host.say(`{"type":"ping"}`)
			if r.run(); len(work) != test.goroutines {
				t.Fatalf("%d goroutines", len(work))
			}
			if held := r.hub.budget.Used(budget.Input); test.goroutines > 0 && held < limit {
				t.Errorf("the budget counts %d bytes", held)
			}
			for len(work) > 0 { // a large message is parsed in a goroutine, too
				f := work[0]
				work = work[1:]
				f()
				r.run()
			}
			all := host.frames()
			want := []string{`{"type":"pong"}`}
			if test.want != "" {
				want = append([]string{`{"type":"error","error":"` + test.want}, want...)
			}
			for i := range want {
				if len(all) != len(want) || !strings.HasPrefix(all[i], want[i]) && !(test.want == "bad_message" && strings.HasPrefix(all[i], `{"type":"error","error":"bad_json`)) {
					t.Fatalf("heard %.200q, want %q", all, want)
				}
			}
			if n := r.hub.budget.Used(budget.Input); n != 0 {
				t.Errorf("%d bytes of input are still counted", n)
			}
		})
	}
}

// TestCompressedMistakes close the connection with the right code.
func TestCompressedMistakes(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for name, test := range map[string]struct {
		plain bool // nobody agreed on compression
		bytes []byte
		want  string
	}{
		"nobody agreed on it":       {true, compressedFrame(deflated(`{"type":"ping"}`)), "close 1002"},
		"no deflate data":           {false, compressedFrame([]byte("\x07 nonsense")), "close 1007"},
		"cut off":                   {false, compressedFrame(deflated(`{"type":"ping","data":"` + long + `"}`)[:30]), "close 1007"},
		"not UTF-8":                 {false, compressedFrame(deflated("\"\xff\"")), "close 1007"},
		"no data, in a goroutine":   {false, compressedFrame(bytes.Repeat([]byte("\x00\x00\x00\xff\xfe"), inflateInline/4)), "close 1007"},
		"dirt behind a final block": {false, compressedFrame([]byte("\x03\x00dirt")), "close 1007"},
		"RSV1 on a ping":            {false, append([]byte{0xC9, 0x80}, 1, 2, 3, 4), "close 1002"},
		"far too large":             {false, append([]byte{0xC1, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0}, 1, 2, 3, 4), "close 1009"},
		"too large when compressed": {false, append(compressedFrame(make([]byte, 17<<10)), compressedFrame(deflated(`{"type":"ping"}`))...), `{"type":"error","error":"too_large"*`},
		"too large when inflated":   {false, append(compressedFrame(bomb(17<<10)), compressedFrame(deflated(`{"type":"ping"}`))...), `{"type":"error","error":"too_large"*`},
		"no bytes at all":           {false, compressedFrame(nil), `{"type":"error","error":"bad_*`},
		"a thousand empty blocks":   {false, compressedFrame(append(bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 1000), deflated(`{"type":"ping"}`)...)), `{"type":"pong"}`},
		"in fragments":              {false, fragments(deflated(`{"type":"ping"}`)), "pong p"},
		"a bomb in fragments":       {false, fragments(bomb(1 << 20)), "pong p"},
		"a final block (7.2.3.4)":   {false, compressedFrame([]byte("\xab\x56\x2a\xa9\x2c\x48\x55\xb2\x52\x2a\xc8\xcc\x4b\x57\xaa\x05\x00\x00")), `{"type":"pong"}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			p := r.dialDeflate(0, here)
			if test.plain {
				p = r.dial(0)
			}
			p.bytes(test.bytes)
			r.run()
			all := p.frames()
			begin, prefix := strings.CutSuffix(test.want, "*")
			if len(all) == 0 || all[0] != test.want && !(prefix && strings.HasPrefix(all[0], begin)) {
				t.Fatalf("heard %.200q, want %q", all, test.want)
			}
			if closed := strings.HasPrefix(test.want, "close "); closed != (p.session.phase > open) {
				t.Errorf("the session's phase is %d", p.session.phase)
			}
			p.reset()
			if n := r.hub.budget.Used(budget.Input); n != 0 {
				t.Errorf("%d bytes of input are still counted", n)
			}
		})
	}
}

// fragments returns a compressed message in fragments of a byte, with a ping
// between them.
func fragments(payload []byte) (all []byte) {
	mask := [4]byte{1, 2, 3, 4}
	for i := range payload {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpText
		}
		b := frame.AppendMasked(nil, op, i == len(payload)-1, mask, payload[i:i+1])
		if i == 0 {
			b[0] |= 0x40
		}
		if all = append(all, b...); i == 1 {
			all = append(all, frame.AppendMasked(nil, ws.OpPing, true, mask, []byte("p"))...)
		}
	}
	return all
}

// TestCompressedInputIsCutAnywhere comes in two parts, with each place between them.
func TestCompressedInputIsCutAnywhere(t *testing.T) {
	stream := append(compressedFrame(deflated(`{"type":"ping","data":1}`)), append(fragments(deflated(`{"type":"ping","data":2}`)), appendMasked(nil, `{"type":"ping","data":3}`)...)...)
	for cut := range stream {
		r := newTestRelay(t, 1, Config{})
		p := r.dialDeflate(0, here)
		p.bytes(stream[:cut])
		p.bytes(stream[cut:])
		want := []string{}
		for i := range 3 {
			want = append(want, fmt.Sprintf(`{"type":"pong","data":%d}`, i+1))
		}
		p.hears(want[0], "pong p", want[1], want[2])
		if p.session.more != nil && p.session.more.in != nil {
			t.Fatalf("cut at %d: something is left between messages", cut)
		}
	}
}

// TestTheEchoCompresses its answers.
func TestTheEchoCompresses(t *testing.T) {
	for _, n := range []int{0, 1, 125, 70_000, 200_000} {
		r := newTestRelay(t, 1, Config{})
		p := r.connect(0)
		p.deflate = true
		p.opens(here, "/echo")
		text := strings.Repeat("x", n)
		p.say(text)
		r.run()
		if len(p.wire) == 0 || p.wire[0] != 0xC1 {
			t.Fatalf("%d bytes: the answer begins with % x", n, p.wire[:min(4, len(p.wire))])
		}
		if got := inflated(t, string(frame.Payload(p.wire))); got != text {
			t.Errorf("%d bytes: the answer has %d", n, len(got))
		}
	}
}
