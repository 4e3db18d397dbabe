package scenario

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
)

func TestFanoutOnARightServer(t *testing.T) {
	t.Parallel()
	for _, transport := range []workload.Transport{workload.WS, workload.SSE, workload.Poll} {
		t.Run(string(transport), func(t *testing.T) { fanOutOnARightServer(t, transport) })
	}
}

func fanOutOnARightServer(t *testing.T, transport workload.Transport) {
	r := &Relay{}
	o := Small(r.Start(t))
	o.Transport = transport
	o.Rooms = 2
	o.Rate = 100
	res, err := runSmall(t, Fanout{}, o)
	if err != nil {
		t.Fatalf("%v: %q", err, res.Problems)
	}
	p := res.Phases[0]
	if want := uint64(8 * 200); p.Expected != want || p.Delivered != want || p.Published != 400 {
		t.Errorf("expected %d, delivered %d, published %d", p.Expected, p.Delivered, p.Published)
	}
	if p.Latency.Count != int64(p.Delivered) || p.Latency.P50 <= 0 || p.Latency.Max < p.Latency.P999 {
		t.Errorf("latency %+v", p.Latency)
	}
	if c := res.Connects[0]; c.Joined != 8 || c.Failed != 0 || c.Join.Count != 8 {
		t.Errorf("connects %+v", c)
	}
	if len(p.Series) < 5 || len(p.Spread.Means) != 8 || p.Spread.Fastest > p.Spread.Slowest {
		t.Errorf("%d points, spread %+v", len(p.Series), p.Spread)
	}
	if each := p.Received / (p.Delivered + p.Ends); each < uint64(o.Size) || transport != workload.Poll && each > uint64(o.Size)+50 {
		t.Errorf("%d bytes received a delivery of %d", each, o.Size)
	}
}

// TestFaultsAreFound has a relay go wrong with every thousandth message of
// each viewer.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	wrong := func(n int) bool { return n%1000 == 500 }
	const each = 2 // faults of a viewer in 2,000 messages
	for name, test := range map[string]struct {
		deliver func() func(viewer, n int, m []byte) [][]byte
		want    report.Trouble // of one viewer
	}{
		"drops": {func() func(int, int, []byte) [][]byte {
			return func(_, n int, m []byte) [][]byte {
				if wrong(n) {
					return nil
				}
				return [][]byte{m}
			}
		}, report.Trouble{Missing: each}},
		"repeats": {func() func(int, int, []byte) [][]byte {
			return func(_, n int, m []byte) [][]byte {
				if wrong(n) {
					return [][]byte{m, m}
				}
				return [][]byte{m}
			}
		}, report.Trouble{Repeated: each}},
		"reorders": {func() func(int, int, []byte) [][]byte {
			held := map[int][]byte{}
			return func(viewer, n int, m []byte) [][]byte {
				switch {
				case wrong(n):
					held[viewer] = m
					return nil
				case wrong(n - 1):
					return [][]byte{m, held[viewer]}
				}
				return [][]byte{m}
			}
		}, report.Trouble{Reordered: each}},
		"damages the body": {func() func(int, int, []byte) [][]byte { return damage(wrong, -5) }, report.Trouble{Damaged: each}},
		"damages the number": {func() func(int, int, []byte) [][]byte {
			return damage(wrong, len(`{"type":"command","data":"`)+stamp.SeqAt+3)
		}, report.Trouble{Damaged: each}},
		"damages the marker": {func() func(int, int, []byte) [][]byte {
			return damage(wrong, len(`{"type":"command","data":"`)+1)
		}, report.Trouble{Damaged: each}},
		"damages the envelope": {func() func(int, int, []byte) [][]byte { return damage(wrong, 4) }, report.Trouble{Damaged: each}},
		"cuts the end off": {func() func(int, int, []byte) [][]byte {
			return func(_, n int, m []byte) [][]byte {
				if wrong(n) {
					return [][]byte{m[:len(m)-10]}
				}
				return [][]byte{m}
			}
		}, report.Trouble{Damaged: each}},
	} {
		for _, transport := range []workload.Transport{workload.WS, workload.SSE, workload.Poll} {
			t.Run(string(transport)+" "+name, func(t *testing.T) {
				t.Parallel()
				r := &Relay{Deliver: test.deliver()}
				o := Small(r.Start(t))
				o.Transport = transport
				res, err := runSmall(t, Fanout{}, o)
				if !errors.Is(err, report.ErrFailed) {
					t.Errorf("the error is %v", err)
				}
				viewers := uint64(o.Viewers)
				want := report.Trouble{Missing: test.want.Missing * viewers, Repeated: test.want.Repeated * viewers, Reordered: test.want.Reordered * viewers, Damaged: test.want.Damaged * viewers}
				if got := res.Phases[0].Trouble; got != want {
					t.Errorf("found %+v, there were %+v", got, want)
				}
			})
		}
	}
}

// damage changes the byte at a place, counted from the end if negative.
func damage(wrong func(int) bool, at int) func(int, int, []byte) [][]byte {
	return func(_, n int, m []byte) [][]byte {
		if wrong(n) {
			m = bytes.Clone(m)
			i := at
			if i < 0 {
				i += len(m)
			}
			m[i] ^= 1
		}
		return [][]byte{m}
	}
}

// TestDelaysAreFound has one of a thousand deliveries delayed: the last message
// of some viewers, so that none is late behind another.
func TestDelaysAreFound(t *testing.T) {
	const viewers, messages = 500, 4
	r := &Relay{Deliver: func(viewer, n int, m []byte) [][]byte {
		if (viewer*messages+n)%1000 == 999 {
			m = append([]byte(DelayMark), m...)
		}
		return [][]byte{m}
	}}
	o := Small(r.Start(t))
	o.Viewers, o.Rate, o.Duration, o.Drain = viewers, 20, messages*time.Second/20, 3*DelayTime
	res, err := runSmall(t, Fanout{}, o)
	if err != nil {
		t.Fatal(err)
	}
	h := res.Phases[0].Latency.Histogram
	late := int64(0)
	for _, bar := range h.Distribution() {
		if bar.From >= DelayTime.Microseconds()*99/100 {
			late += bar.Count
		}
	}
	if late != 2 {
		t.Errorf("%d of %d deliveries were late, there were 2", late, h.TotalCount())
	}
}

// TestStoppedServerShowsInTheTail has the relay stop for a second in the
// middle: a message that was due when it stopped is a second late, the one
// after it a little less, and so on.
func TestStoppedServerShowsInTheTail(t *testing.T) {
	const rate, stop = 100, time.Second
	r := &Relay{Before: func(n int) {
		if n == rate/2 {
			time.Sleep(stop)
		}
	}}
	o := Small(r.Start(t))
	o.Rate, o.Duration = rate, 2*time.Second
	res, err := runSmall(t, Fanout{}, o)
	if err != nil {
		t.Fatal(err)
	}
	p := res.Phases[0]
	if p.Latency.Max < 990_000 || p.Latency.Max > 2_500_000 {
		t.Errorf("the largest latency is %s, the server stopped for %v", report.Micros(p.Latency.Max), stop)
	}
	h := p.Latency.Histogram
	late := int64(0)
	for _, bar := range h.Distribution() {
		if bar.From >= 500_000 {
			late += bar.Count
		}
	}
	if share := float64(late) / float64(h.TotalCount()); share < 0.2 || share > 0.6 {
		t.Errorf("%.3f of the deliveries were half a second late or more, not a quarter: the loop was not open", share)
	}
}
