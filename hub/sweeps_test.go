package hub

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// takes fails the test unless the relay has counted these sweeps since the last
// call, and no others.
func (r *testRelay) takes(before *SweepTimes, want ...time.Duration) {
	r.t.Helper()
	now := r.hub.Stats().Sweeps
	var expected sweepCounters
	for _, d := range want {
		expected.observe(d, 1)
	}
	sum := *before
	expected.addTo(&sum)
	if now != sum {
		r.t.Fatalf("the sweeps are %v, want %v: those before and %v", now, sum, want)
	}
	*before = now
}

func TestASweepLastsUntilTheSlowestWorkerIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 3, Config{})
		host, room := r.opens(0, `,"history":"relay"`)
		code := room.Code
		for range 3 {
			r.viewer(1, code)
			r.viewer(2, code)
		}
		r.run()
		var before SweepTimes
		r.takes(&before)
		host.say(`{"type":"command","data":1}`)
		time.Sleep(3 * time.Millisecond)
		for r.workers[1].step() {
		}
		r.takes(&before)
		time.Sleep(40 * time.Millisecond)
		slices := 0 // the sweep of the slow worker is cut into slices, too
		r.workers[2].spent = func() bool { slices++; return slices%2 == 1 }
		for r.workers[2].step() {
			time.Sleep(time.Millisecond)
		}
		r.workers[2].spent = nil
		// The third viewer is served after two pauses, and the end is seen in the
		// slice after that.
		if before = r.hub.Stats().Sweeps; before.Sum < 45*time.Millisecond || before.Sum > 50*time.Millisecond || before.Counts[6] != 1 {
			t.Fatalf("the sweeps are %v", before)
		}

		if _, err := testPublish(r.hub, code, []byte(`2`)); err != nil { // as the HTTP API does
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		r.run()
		r.takes(&before, 200*time.Millisecond)
	})
}

// TestEachBroadcastIsTimedOnce, whether a sweep delivers it alone or with
// others, and whether it comes before a sweep or in the middle of it.
func TestEachBroadcastIsTimedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, code := r.host(0)
		var before SweepTimes
		host.say(`{"type":"command","data":"nobody is there"}`)
		r.run()
		r.takes(&before)

		r.viewer(1, code)
		r.viewer(1, code)
		r.run()
		r.takes(&before) // viewers that come make sweeps without a broadcast
		for n := range 5 {
			host.say(fmt.Sprintf(`{"type":"command","data":%d}`, n))
			time.Sleep(10 * time.Millisecond)
		}
		r.run()
		ms := time.Millisecond
		r.takes(&before, 50*ms, 40*ms, 30*ms, 20*ms, 10*ms)

		w := r.workers[1]
		w.spent = func() bool { return true }
		host.say(`{"type":"command","data":"first"}`)
		time.Sleep(ms)
		w.step() // one viewer
		host.say(`{"type":"command","data":"in the middle"}`)
		time.Sleep(ms)
		w.step() // the other viewer, which gets both
		w.spent = nil
		r.takes(&before)
		time.Sleep(ms)
		w.step()
		r.takes(&before, 3*ms)
		time.Sleep(ms)
		r.run()
		r.takes(&before, 3*ms)
	})
}

// TestASweepWaitsForNobodyWhoIsGone: viewers that leave, stall or come later
// neither keep a broadcast from being counted nor count it twice.
func TestASweepWaitsForNobodyWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 3, Config{})
		host, code := r.host(0)
		stalled, leaver := r.viewer(1, code), r.viewer(2, code)
		r.run()
		stalled.room = 3
		var before SweepTimes
		command := func() { host.say(`{"type":"command","data":"x"}`) }
		command()
		time.Sleep(time.Millisecond)
		r.run()
		r.takes(&before, time.Millisecond) // three bytes of it went out
		command()
		leaver.reset()
		time.Sleep(4 * time.Millisecond)
		r.run()
		r.takes(&before, 4*time.Millisecond) // the stalled viewer's worker had nobody to visit

		stalled.reset()
		alone := r.viewer(2, code)
		r.run()
		command()
		time.Sleep(8 * time.Millisecond)
		alone.reset() // the last viewer that was to get it
		r.takes(&before, 8*time.Millisecond)
		r.viewer(2, code)
		time.Sleep(time.Hour)
		command()
		r.run()
		r.takes(&before, 0)
	})
}

// TestASweepDoesNotWaitForNewcomers: viewers that come to a worker that had none get
// nothing of what was said before, even if that worker was in the middle of a
// sweep.
func TestASweepDoesNotWaitForNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 3, Config{})
		host, code := r.host(0)
		r.viewer(1, code)
		r.run()
		var before SweepTimes
		command := func() { host.say(`{"type":"command","data":"x"}`) }
		enter := func() *peer { // without running the workers
			p := r.dial(2)
			p.say(`{"type":"join","code":"` + code + `"}`)
			return p
		}
		visit := func(worker int) {
			for r.workers[worker].step() {
			}
		}
		command()
		time.Sleep(5 * time.Millisecond)
		first := enter()
		visit(1)
		r.takes(&before, 5*time.Millisecond)

		second := enter()
		r.run()
		r.workers[2].spent = func() bool { return true }
		command()
		r.workers[2].step() // the sweep stops after one viewer
		command()
		first.reset()
		second.reset()
		enter()
		for range 2 {
			r.workers[2].step() // it ends, as of the first command
		}
		time.Sleep(time.Millisecond)
		visit(1)
		r.takes(&before, time.Millisecond, time.Millisecond)
	})
}

// TestBroadcastsFasterThanSweepsAreTimedWithinBounds: the room keeps at most
// maxUnswept entries and gives them back, and no time is too short, or too long
// by more than a tenth of the oldest.
func TestBroadcastsFasterThanSweepsAreTimedWithinBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var w sweeps
		var counted sweepCounters
		var due []time.Duration // entries not left yet
		var now, exact, slack time.Duration
		var grown, entered uint64
		for range random.IntN(2000) {
			now += time.Duration(random.Int64N(int64(time.Millisecond)))
			grown++
			w.enter(grown, now)
			due, entered = append(due, now), entered+1
			if len(w.unswept) > maxUnswept {
				t.Fatalf("%d entries are kept", len(w.unswept))
			}
			if random.IntN(100) == 0 {
				until := random.IntN(len(due) + 1)
				for _, at := range due[:until] {
					exact += now - at
					slack += max(2*firstGrain, (now-due[0])/10)
				}
				due = due[until:]
				w.leave(grown-uint64(len(due)), now, &counted)
			}
		}
		for _, at := range due {
			exact += now - at
			slack += max(2*firstGrain, (now-due[0])/10)
		}
		w.leave(grown, now, &counted)
		var got SweepTimes
		counted.addTo(&got)
		var n uint64
		for _, c := range got.Counts {
			n += c
		}
		if n != entered || got.Sum < exact || got.Sum > exact+slack {
			t.Fatalf("%d broadcasts took %s; %d were counted with %s, and %s too much would do", entered, exact, n, got.Sum, slack)
		}
		if len(w.unswept) > 0 || cap(w.unswept) > maxUnswept/4 {
			t.Fatalf("%d entries are kept for nothing", cap(w.unswept))
		}
	}
}
