package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// numberedViewer returns a peer that has joined and gets numbers.
func (r *testRelay) numberedViewer(worker int, code string) *peer {
	r.t.Helper()
	p := r.dial(worker)
	p.say(`{"type":"join","code":"` + code + `","numbered":true}`)
	p.hears(`{"type":"joined","code":"` + code + `",*`)
	return p
}

// comesBack returns a viewer's next connection, which says that it has seen
// broadcast seq, and what it is told.
func (r *testRelay) comesBack(worker int, v *peer, seq uint64, more string) (*peer, Joined) {
	r.t.Helper()
	p := r.dial(worker)
	room := v.session.room
	p.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s","epoch":"%s","seq":%d%s}`,
		room.code, viewerToken(room, v.session.id), room.epoch, seq, more))
	v.reset()
	r.run()
	text, rest := cutFrame(p)
	var told struct {
		Seq       uint64
		Recovered bool
	}
	if json.Unmarshal([]byte(text), &told) != nil || !strings.HasPrefix(text, `{"type":"joined"`) {
		r.t.Fatalf("welcomed by %q", text)
	}
	p.wire = rest
	return p, Joined{Seq: told.Seq, Recovered: told.Recovered}
}

// cutFrame returns the first text that arrived, and the bytes after it.
func cutFrame(p *peer) (text string, rest []byte) {
	whole := p.wire
	for n := 2; n <= len(whole); n++ {
		p.wire = whole[:n]
		if all := p.frames(); len(all) == 1 {
			return all[0], whole[n:]
		}
	}
	p.wire = whole
	return "", nil
}

func TestNumberedViewersGetTheSameObjectWithItsNumberFirst(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	host.say(`{"type":"command","data":"before"}`)
	v, plain := r.numberedViewer(1, code), r.viewer(1, code)
	for _, text := range []string{
		`{"type":"command","data":1}`,
		"\n { \t\"data\" : [ ], \"type\" : \"activate\" } ",
		`{"data":"` + strings.Repeat("long", 400) + `","type":"broadcast"}`,
	} {
		host.say(text)
		plain.hears(text)
	}
	v.hears(
		`{"seq":2,"type":"command","data":1}`,
		"{\"seq\":3, \t\"data\" : [ ], \"type\" : \"activate\" } ",
		`{"seq":4,"data":"`+strings.Repeat("long", 400)+`","type":"broadcast"}`,
	)
	host.reset()
	v.hears(`{"type":"host_left"*`) // an event has no number
	plain.hears(`{"type":"host_left"*`)
}

// TestAnEncodingIsWrittenOnceAndOnlyWhileItIsWanted looks at the room's Logs.
func TestAnEncodingIsWrittenOnceAndOnlyWhileItIsWanted(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	room := host.session.room
	host.say(`{"type":"command","data":1}`)
	if room.streams.in(numbered) != nil {
		t.Error("numbers are written though nobody wants them")
	}
	var all []*peer
	for i := range 100 {
		all = append(all, r.numberedViewer(i%2, code))
	}
	log := room.streams.in(numbered)
	host.say(`{"type":"command","data":2}`)
	for _, p := range all {
		p.hears(`{"seq":2,"type":"command","data":2}`)
		if p.session.log() != log {
			t.Fatal("a viewer has a Log of its own")
		}
	}
	end, begin := log.End(), log.Oldest()
	if n := end.Position() - begin.Position(); n > 100 { // it may have been told how many they are
		t.Errorf("%d bytes were written for 100 viewers", n)
	}
	for _, p := range all {
		p.reset()
	}
	if room.streams.in(numbered) != nil {
		t.Error("numbers are written though nobody wants them any more")
	}
}

func TestNumberedViewerComesBack(t *testing.T) {
	fill := strings.Repeat("x", 300)
	text := func(n int) string { return fmt.Sprintf(`{"type":"command","data":%d,"fill":"%s"}`, n, fill) }
	seen := func(n int) string {
		return fmt.Sprintf(`{"seq":%d,"type":"command","data":%d,"fill":"%s"}`, n, n, fill)
	}
	for name, alone := range map[string]bool{"alone": true, "among others": false} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 2, Config{})
			host, code := r.host(0)
			host.say(text(1))
			v := r.numberedViewer(1, code)
			var other *peer
			if !alone {
				other = r.numberedViewer(0, code)
			}
			for n := 2; n <= 500; n++ {
				host.say(text(n))
			}
			r.run()
			v.frames()
			for _, last := range []int{500, 499, 250, 1, 0} {
				var told Joined
				v, told = r.comesBack(last%2, v, uint64(last), `,"numbered":true`)
				if !told.Recovered || told.Seq != uint64(last) {
					t.Fatalf("after %d: recovered %v, seq %d", last, told.Recovered, told.Seq)
				}
				var want []string
				for n := last + 1; n <= 500; n++ {
					want = append(want, seen(n))
				}
				v.hears(want...)
			}
			// It may come back in the other encoding, and change again.
			v, _ = r.comesBack(1, v, 498, "")
			v.hears(text(499), text(500))
			v, _ = r.comesBack(1, v, 499, `,"numbered":true`)
			host.say(text(501))
			v.hears(seen(500), seen(501))
			v, told := r.comesBack(1, v, 502, `,"numbered":true`)
			if told.Recovered || told.Seq != 501 {
				t.Errorf("a number to come: recovered %v, seq %d", told.Recovered, told.Seq)
			}
			v.hears()
			if other != nil && len(other.frames()) != 500 {
				t.Error("the other one was disturbed")
			}
		})
	}
}

// TestThePastIsEncodedOnce has many viewers come back to a room in which no
// viewer reads numbers.
func TestThePastIsEncodedOnce(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	var all []*peer
	for i := range 50 {
		all = append(all, r.viewer(i%2, code))
	}
	for n := 1; n <= 50; n++ {
		host.say(fmt.Sprintf(`{"type":"command","data":%d}`, n))
	}
	r.run()
	var first uint64
	for i, v := range all {
		v.frames()
		back, told := r.comesBack(i%2, v, uint64(i), `,"numbered":true`)
		if !told.Recovered {
			t.Fatalf("viewer %d is not recovered", i)
		}
		if got := back.frames(); len(got) != 50-i || !strings.HasPrefix(got[0], fmt.Sprintf(`{"seq":%d,`, i+1)) {
			t.Fatalf("viewer %d heard %q", i, got)
		}
		oldest := host.session.room.streams.in(numbered).Oldest()
		if first == 0 {
			first = oldest.Position()
		}
		if oldest.Position() != first {
			t.Fatal("the past was encoded again")
		}
	}
}

func TestNumberedHistory(t *testing.T) {
	synctest.Test(t, testNumberedHistory)
}

func testNumberedHistory(t *testing.T) {
	r := newTestRelay(t, 2, Config{HistoryTimeout: time.Hour})
	host, code := r.host(0)
	v := r.dial(1)
	v.say(`{"type":"join","code":"` + code + `","numbered":true,"history":true}`)
	plain := r.dial(1)
	plain.say(`{"type":"join","code":"` + code + `","history":true}`)
	host.hears(`{"type":"history_request"}`)
	host.say(` {"type":"history", "commands":[]}`)
	v.hears(`{"type":"joined"*`, `{"seq":0,"type":"history", "commands":[]}`)
	plain.hears(`{"type":"joined"*`, ` {"type":"history", "commands":[]}`)
	host.say(`{"type":"command","data":1}`)
	v.hears(`{"seq":1,"type":"command","data":1}`)
	plain.hears(`{"type":"command","data":1}`)

	time.Sleep(2 * freshFor)
	synctest.Wait()
	late := r.dial(0)
	late.say(`{"type":"join","code":"` + code + `","numbered":true,"history":true}`)
	host.hears(`{"type":"history_request"}`)
	host.say(`{"type":"command","data":2}`)
	host.say(`{"type":"history","commands":[1,2]}`)
	host.say(`{"type":"command","data":3}`)
	late.hears(`{"type":"joined"*`, `{"seq":2,"type":"history","commands":[1,2]}`, `{"seq":3,"type":"command","data":3}`)
	host.reset()
	r.run()
}

func TestNumberedViewersAreToldHowManyTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		_, code := r.host(0)
		plain := r.viewer(0, code)
		passes := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		passes(viewersEvery)
		v := r.numberedViewer(1, code)
		told := func(want ...string) {
			t.Helper()
			if v.hears(); !slices.Equal(v.counts, want) {
				t.Fatalf("told %q, want %q", v.counts, want)
			}
			v.counts = nil
		}
		passes(0)
		told(`{"type":"viewers","viewers":2}`)
		var crowd []*peer
		for range 30 {
			crowd = append(crowd, r.viewer(0, code))
			passes(100 * time.Millisecond)
		}
		told()
		passes(viewersEvery - 3*time.Second)
		told(`{"type":"viewers","viewers":32}`)
		for _, p := range crowd[:10] {
			p.reset()
		}
		again := r.viewer(0, code)
		again.reset()
		passes(viewersEvery)
		told(`{"type":"viewers","viewers":22}`)
		r.viewer(0, code).reset() // the same number as before
		passes(2 * viewersEvery)
		told()
		v.reset()
		passes(2 * viewersEvery)
		if plain.hears(); len(plain.counts) > 0 {
			t.Errorf("who gets no numbers was told %q", plain.counts)
		}
	})
}
