package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub"
	"lectern/hub/budget"
)

// TestAReadThatDoesNotEnd is a failure of the disk as long as it lasts.
func TestAReadThatDoesNotEnd(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	synctest.Test(t, func(t *testing.T) {
		d := &diskRoom{code: "A1B2C3"}
		r.store.queue.begin([]*diskRoom{d})
		if r.store.queue.next() != d {
			t.Fatal("there is no room to be read")
		}
		time.Sleep(stuckAfter)
		if err := r.store.once(); err != nil {
			t.Errorf("after %s: %v", stuckAfter, err)
		}
		time.Sleep(time.Second)
		if err := r.store.once(); err == nil || !strings.Contains(err.Error(), d.code) {
			t.Errorf("a read that takes longer: %v", err)
		}
		r.store.queue.read(d)
		if err := r.store.once(); err != nil {
			t.Errorf("when it has ended: %v", err)
		}
	})
}

// TestTotalsHoldAtARestore has rooms of very different sizes come back, all of
// which have more than there may be.
func TestTotalsHoldAtARestore(t *testing.T) {
	const total, rooms = 1 << 20, 40
	r := start(t, t.TempDir(), hub.Config{})
	var codes []string
	for i := range rooms {
		code := r.create()
		codes = append(codes, code)
		r.say(code, 1, 10)
		if i%2 == 0 {
			r.say(code, 11, 2500)
		}
	}
	r.write()
	if held := r.hub.Stats().LogBytes; held < 2*total {
		t.Fatalf("all rooms together have only %d bytes", held)
	}
	r.kill()
	config := *r.hub.Config()
	config.RetainTotal = total
	r = start(t, r.dir, config)
	held := r.hub.Stats().LogBytes
	if held > total || held < total/2 {
		t.Errorf("they hold %d bytes of %d", held, total)
	}
	r.kill()
	small := r.open()
	small.hub.Budget().SetLimit(2 * total)
	if err := small.store.Restore(small.hub); err != nil {
		t.Fatal(err)
	}
	small.store.loadAll(nil)
	if held := small.hub.Stats().LogBytes; held > total/2 || held < total/4 || small.hub.Budget().Level() > budget.Calm {
		t.Errorf("with little memory they hold %d bytes", held)
	}
	small.kill()
	for i, code := range codes {
		if i%2 == 0 {
			if s := r.has(code, 2450, 2500); s.Oldest.Seq() == 0 {
				t.Error("a large room has everything")
			}
		} else {
			r.has(code, 1, 10) // a small one is not cut for the large ones
		}
	}
}

// TestWaterline compares what rooms get with what there is.
func TestWaterline(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int64
		want  int64
	}{
		"nothing":           {nil, 0},
		"all fit":           {[]int64{100, 200, 400}, 0},
		"one is too large":  {[]int64{100, 100, 1000}, 500},
		"two are":           {[]int64{100, 500, 500}, 300},
		"none has anything": {[]int64{1 << 40, 1 << 40}, 350},
		"more than most":    {[]int64{300, 1 << 40}, 0},
	} {
		var rooms []*diskRoom
		for _, size := range c.sizes {
			rooms = append(rooms, &diskRoom{size: size})
		}
		most := int64(1 << 50)
		if name == "more than most" {
			most = 400
		}
		if got := waterline(rooms, most, 800); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestAWantedRoomComesFirst asks for the last of many.
func TestAWantedRoomComesFirst(t *testing.T) {
	var q queue
	var rooms []*diskRoom
	for i := range 100 {
		rooms = append(rooms, &diskRoom{code: fmt.Sprint(i)})
	}
	q.begin(rooms)
	var got []string
	for i := range 101 {
		if i == 3 {
			q.want("77")
			q.want("1") // it has been read
			q.want("none")
		}
		if r := q.next(); r != nil {
			got = append(got, r.code)
		}
	}
	if len(got) != 100 || got[3] != "77" || slices.Compact(slices.Sorted(slices.Values(got)))[0] != "0" {
		t.Errorf("they came as %q", got)
	}
}

// TestAStoreReadsWhileItRuns has Run read the rooms, tell so, and stop in the
// middle when it must.
func TestAStoreReadsWhileItRuns(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	for range 50 {
		r.say(r.create(), 1, 20)
	}
	r.stop()
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		s, err := Open(Config{Dir: r.dir, Log: slog.New(slog.NewTextHandler(io.MultiWriter(&log), nil))})
		if err != nil {
			t.Fatal(err)
		}
		h := newHub(hub.Config{})
		if err := s.Restore(h); err != nil {
			t.Fatal(err)
		}
		if n := h.Stats().Rooms; n != 50 {
			t.Errorf("before they are read there are %d rooms", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		page, next := h.Rooms("", 100)
		if len(page) != 50 || next != "" {
			t.Errorf("a list of %d rooms, then %q", len(page), next)
		}
		time.Sleep(time.Second)
		if !strings.Contains(log.String(), "rooms restored") || !strings.Contains(log.String(), "rooms=50") {
			t.Errorf("the log is %s", log.String())
		}
		for _, room := range page {
			h.DeleteRoom(room.Code) // their timers would keep the bubble waiting
		}
		cancel()
		running.Wait()
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestCodesWithADash reads names of files.
func TestCodesWithADash(t *testing.T) {
	for name, want := range map[string]roomFile{
		"A1B2C3-00000001":      {"A1B2C3", 1},
		"K7QM-2XHD-00000012":   {"K7QM-2XHD", 12},
		"K7QM-2XHD-4294967295": {"K7QM-2XHD", 4294967295},
		"K7QM-2XHD":            {},
		"-00000001":            {},
		"K7QM-2XHD-1":          {},
		"K7QM-2XHD-00000000":   {},
		"relay":                {},
	} {
		got, ok := parseRoomFile(name)
		if got != want || ok != (want != roomFile{}) {
			t.Errorf("%s is %+v, %t", name, got, ok)
		}
		if ok && filepath.Base(got.path("")) != name {
			t.Errorf("%s is written %s", name, got.path(""))
		}
	}
}
