package hub

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lectern/frame"
	"lectern/hub/budget"
)

var here = netip.MustParseAddr("192.0.2.1")

// compressingViewer returns a viewer that agreed on compression. more are further
// fields of its join.
func (r *testRelay) compressingViewer(worker int, code, more string) *peer {
	r.t.Helper()
	p := r.dialDeflate(worker, here)
	p.say(`{"type":"join","code":"` + code + `"` + more + `}`)
	p.hears(`{"type":"joined","code":"` + code + `",*`)
	return p
}

// countPrepare counts how often something is compressed: broadcasts, and histories.
// It must be called before there are sessions.
func (r *testRelay) countPrepare() (broadcasts, histories *int) {
	broadcasts, histories = new(int), new(int)
	r.hub.encodings = slices.Clone(r.hub.encodings)
	for i := range r.hub.encodings {
		e := &r.hub.encodings[i]
		if prepare, pack := e.Prepare, e.Pack; prepare != nil {
			e.Prepare = func(payload []byte, d *frame.Deflater) []byte { *broadcasts++; return prepare(payload, d) }
			e.Pack = func(history []byte, d *frame.Deflater) []byte { *histories++; return pack(history, d) }
		}
	}
	return broadcasts, histories
}

// longCommand returns a command of at least so many bytes that compress well.
func longCommand(n int) string {
	return `{"type":"command","data":"` + strings.Repeat("a line, and ", n/12) + `"}`
}

// TestABroadcastIsCompressedOnce, however many viewers read it in however many
// encodings, and however it comes.
func TestABroadcastIsCompressedOnce(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	broadcasts, _ := r.countPrepare()
	host := r.dial(0)
	host.say(`{"type":"create","history":"relay"}`) // so that the API may broadcast, too
	host.hears(`{"type":"created"*`)
	code := host.session.room.code.String()
	plain, compressed := []*peer{r.viewer(0, code)}, []*peer{}
	for i := range 6 {
		compressed = append(compressed, r.compressingViewer(i%2, code, []string{"", `,"numbered":true`}[i/3]))
	}
	host.say(longCommand(2000))
	r.run()
	if _, err := testPublish(r.hub, code, []byte(`"`+strings.Repeat("slides ", 100)+`"`)); err != nil {
		t.Fatal(err)
	}
	r.run()
	published := `{"type":"broadcast","data":"` + strings.Repeat("slides ", 100) + `"}`
	for i, v := range append(plain, compressed...) {
		before := len(v.wire)
		switch {
		case i <= 3:
			v.hears(longCommand(2000), published)
		default:
			v.hears(withNumber(1, longCommand(2000)), withNumber(2, published))
		}
		if i > 0 && (v.inflated != 2 || before > 500) || i == 0 && (v.inflated > 0 || before < 2000) {
			t.Errorf("viewer %d got %d compressed messages in %d bytes", i, v.inflated, before)
		}
	}
	if *broadcasts != 2 {
		t.Errorf("2 broadcasts were compressed %d times", *broadcasts)
	}
	c := r.hub.Stats().Compression
	if c.Agreed != 6 || c.Broadcasts != 2 || c.Before != uint64(len(longCommand(2000))+len(published)) || c.After == 0 || c.After > 300 {
		t.Errorf("the figures are %+v", c)
	}
}

// TestWhatIsNotCompressed: what nobody wants compressed, what would not become
// shorter, and what is short.
func TestWhatIsNotCompressed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 400)
	for i := range noise {
		noise[i] = byte('0' + random.IntN(75))
		if noise[i] == '\\' || noise[i] == '"' {
			noise[i] = 'x'
		}
	}
	small := `permessage-deflate; server_max_window_bits=14`
	for name, test := range map[string]struct {
		config Config
		offer  string
		text   string
		times  int // that something is compressed
		got    int // compressed messages
	}{
		"a long one":              {Config{}, "permessage-deflate", longCommand(400), 1, 1},
		"nobody wants it":         {Config{}, "", longCommand(400), 0, 0},
		"a client's small window": {Config{}, small, longCommand(400), 0, 0},
		"no compression":          {Config{NoCompression: true}, "permessage-deflate", longCommand(400), 0, 0},
		"a short one":             {Config{}, "permessage-deflate", longCommand(200), 0, 0},
		"all are long enough":     {Config{CompressMin: -1}, "permessage-deflate", longCommand(200), 1, 1},
		"one byte too short":      {Config{CompressMin: len(longCommand(400)) + 1}, "permessage-deflate", longCommand(400), 0, 0},
		"white space first":       {Config{}, "permessage-deflate", strings.Repeat(" ", 63) + longCommand(400), 1, 1},
		"too much of it":          {Config{}, "permessage-deflate", strings.Repeat(" ", 64) + longCommand(400), 1, 0},
		"a megabyte of it":        {Config{}, "permessage-deflate", strings.Repeat(" ", 1<<20-1000) + longCommand(400), 1, 0},
		"no shorter":              {Config{CompressMin: -1}, "permessage-deflate", `{"type":"command","data":"` + string(noise[:20]) + `"}`, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, test.config)
			times, _ := r.countPrepare()
			host, code := r.host(0)
			v := r.connect(0)
			v.deflate = strings.HasPrefix(test.offer, "permessage") && !test.config.NoCompression
			head := testHead
			if test.offer != "" {
				head = strings.TrimSuffix(testHead, "\r\n") + "Sec-WebSocket-Extensions: " + test.offer + "\r\n\r\n"
			}
			v.bytes([]byte(head))
			v.wire = nil
			v.say(`{"type":"join","code":"` + code + `","numbered":true}`) // compressed, even if the answers are not
			v.hears(`{"type":"joined"*`)
			host.say(test.text)
			v.hears(withNumber(1, strings.TrimLeft(test.text, " ")))
			if *times != test.times || v.inflated != test.got {
				t.Errorf("compressed %d times, got %d compressed messages", *times, v.inflated)
			}
			if s := r.hub.Stats().Compression; s.Kept != uint64(test.times-test.got) {
				t.Errorf("the figures are %+v", s)
			}
		})
	}
}

// TestCompressionEndsWithItsLastReader, and begins with the first.
func TestCompressionEndsWithItsLastReader(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	times, _ := r.countPrepare()
	host, code := r.host(0)
	says := func(want int) {
		t.Helper()
		host.say(longCommand(400))
		r.run()
		if *times != want {
			t.Errorf("%d broadcasts were compressed, want %d", *times, want)
		}
	}
	says(0)
	a, b := r.compressingViewer(0, code, ""), r.compressingViewer(0, code, `,"numbered":true`)
	says(1)
	a.reset()
	says(2)
	b.reset()
	says(2)
	if n := len(*host.session.room.streams.all.Load()); n != 1 {
		t.Errorf("there are %d Logs", n)
	}
	r.compressingViewer(0, code, "")
	says(3)
	r.hub.Configure(Config{NoCompression: true})
	says(3)
}

// TestACompressedPast is compressed for a viewer that comes back, and for those
// that ask for the history: once for all of them.
func TestACompressedPast(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	times, histories := r.countPrepare()
	host := r.dial(0)
	host.say(`{"type":"create","history":"relay"}`)
	host.hears(`{"type":"created"*`)
	room := host.session.room
	code := room.code.String()
	v := r.compressingViewer(0, code, "")
	token := fmt.Sprintf(`,"token":"%s","epoch":"%s","seq":1`, room.AppendViewerToken(nil, v.session.id), room.epoch)
	v.reset()
	for range 5 {
		host.say(longCommand(600))
	}
	r.run()
	v = r.dialDeflate(0, here)
	v.say(`{"type":"join","code":"` + code + `","numbered":true` + token + `}`)
	v.hears(`{"type":"joined"*`, withNumber(2, longCommand(600)), withNumber(3, longCommand(600)), withNumber(4, longCommand(600)), withNumber(5, longCommand(600)))
	if v.inflated != 4 || *times != 5 {
		t.Errorf("%d compressed messages; %d were compressed", v.inflated, *times)
	}
	plain := r.viewer(0, code)
	plain.say(`{"type":"history_request"}`) // the first of the second: what follows waits for the same one
	same := r.dialDeflate(0, here)
	same.say(`{"type":"join","code":"` + code + `","history":true}`)
	v.say(`{"type":"history_request"}`)
	want := `{"type":"history","commands":[*`
	plain.hears(want)
	v.hears(want)
	same.hears(`{"type":"joined"*`, want)
	if *histories != 1 || v.inflated != 5 || same.inflated != 1 || plain.inflated != 0 {
		t.Errorf("packed %d times; %d and %d compressed messages", *histories, v.inflated, same.inflated)
	}
}

// TestAHostsHistoryIsCompressedOnce for all encodings.
func TestAHostsHistoryIsCompressedOnce(t *testing.T) {
	for _, size := range []int{1000, 100_000} { // in the worker, and in a goroutine
		r := newTestRelay(t, 1, Config{})
		times, histories := r.countPrepare()
		host, code := r.host(0)
		a, b, plain := r.compressingViewer(0, code, ""), r.compressingViewer(0, code, `,"numbered":true`), r.viewer(0, code)
		all := []*peer{a, b, plain}
		for _, v := range all {
			v.say(`{"type":"history_request"}`)
		}
		r.run()
		answer := `{"type":"history","commands":["` + strings.Repeat("one, two, ", size/10) + `"]}`
		host.say(answer)
		host.say(longCommand(20)) // must come behind it
		a.hears(answer, longCommand(20))
		b.hears(withNumber(0, answer), withNumber(1, longCommand(20)))
		plain.hears(answer, longCommand(20))
		if *times != 1 || *histories != 0 || a.inflated != 1 || b.inflated != 1 || plain.inflated != 0 {
			t.Errorf("prepared %d times, packed %d times; %d and %d compressed messages", *times, *histories, a.inflated, b.inflated)
		}
		host.say(answer) // nobody asked
		if r.run(); *times != 1 {
			t.Error("a history that nobody asked for is compressed")
		}
	}
}

// TestALargeBroadcastHoldsNoWorker: it is compressed in a goroutine. What the host
// says next comes behind it, and other rooms go on.
func TestALargeBroadcastHoldsNoWorker(t *testing.T) {
	for _, size := range []int{prepareInline + 100, MinOffload + 100, 1 << 19} {
		r := newTestRelay(t, 1, Config{})
		times, _ := r.countPrepare()
		host, code := r.host(0)
		v := r.compressingViewer(0, code, "")
		other, otherCode := r.host(0)
		w := r.compressingViewer(0, otherCode, "")
		var work []func()
		r.hub.background = func(f func()) { work = append(work, f) }
		large := longCommand(size)
		host.say(large)
		host.say(longCommand(10))
		r.run()
		if len(work) != 1 || *times != 0 {
			t.Fatalf("%d bytes: %d goroutines, compressed %d times", size, len(work), *times)
		}
		if reading, _ := host.session.Wants(); reading {
			t.Errorf("%d bytes: the host is read meanwhile", size)
		}
		other.say(longCommand(1000))
		w.hears(longCommand(1000))
		v.hears()
		for len(work) > 0 {
			f := work[0]
			work = work[1:]
			f()
			r.run()
		}
		v.hears(large, longCommand(10))
		if v.inflated != 1 {
			t.Errorf("%d bytes: %d compressed messages", size, v.inflated)
		}
		if n := r.hub.budget.Used(budget.Input); n != 0 {
			t.Errorf("%d bytes of input are still counted", n)
		}
	}
}

// TestATransferBeatsALargeBroadcast: the host that said it is not the host any more
// when it has been compressed.
func TestATransferBeatsALargeBroadcast(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.compressingViewer(0, code, "")
	token := host.hostToken()
	var work []func()
	r.hub.background = func(f func()) { work = append(work, f) }
	host.say(longCommand(prepareInline + 100))
	r.run()
	again := r.dial(0)
	again.say(`{"type":"resume","code":"` + code + `","token":"` + token + `"}`)
	r.hub.shards[0].Worker.(*testWorker).step() // the new host is told; the old one does not know yet
	work[0]()
	r.run()
	if got := v.frames(); len(got) != 0 {
		t.Errorf("the viewer heard %.100q", got)
	}
}

// TestAllDeflatersAreInUse: the frames go as they are.
func TestAllDeflatersAreInUse(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.compressingViewer(0, code, "")
	var taken []*frame.Deflater
	for d := r.hub.compressors.deflaters.take(); d != nil; d = r.hub.compressors.deflaters.take() {
		taken = append(taken, d)
	}
	if n := int64(len(taken)) * frame.DeflaterSize; len(taken) != 1+2+requestCompressors || r.hub.budget.Used(budget.Compression) < n {
		t.Errorf("%d deflaters, the budget counts %d bytes", len(taken), r.hub.budget.Used(budget.Compression))
	}
	host.say(longCommand(400))
	if v.hears(longCommand(400)); v.inflated != 0 {
		t.Error("it is compressed")
	}
	for _, d := range taken {
		r.hub.compressors.deflaters.give(d)
	}
	host.say(longCommand(400))
	if v.hears(longCommand(400)); v.inflated != 1 {
		t.Error("it is not compressed")
	}
	r.hub.Tend()
	if r.hub.budget.Used(budget.Compression) == 0 {
		t.Error("deflaters that were just used are freed")
	}
	if r.hub.Tend(); r.hub.budget.Used(budget.Compression) != 0 {
		t.Errorf("%d bytes of idle compressors stay", r.hub.budget.Used(budget.Compression))
	}
}

// TestCompressionKeepsNothing for a viewer between two messages.
func TestCompressionKeepsNothing(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.compressingViewer(0, code, `,"numbered":true`)
	host.say(longCommand(1000))
	v.hears(withNumber(1, longCommand(1000)))
	v.say(`{"type":"ping","data":"` + strings.Repeat("x", 300) + `"}`)
	v.hears(`{"type":"pong",*`)
	r.workers[0].now += 2 * second
	if v.tick(); v.session.more != nil || v.session.out != nil {
		t.Errorf("a silent viewer holds %+v, %+v", v.session.more, v.session.out)
	}
}
