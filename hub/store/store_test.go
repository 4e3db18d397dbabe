package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lectern/frame"
	"lectern/hub"
	"lectern/hub/classroom"
)

// A relay is a hub on a store, without clients: rooms are made and spoken into
// as the HTTP API does.
type relay struct {
	t     testing.TB
	dir   string
	hub   *hub.Hub
	store *Store
}

// idleWorker has no sessions, and nothing to do.
type idleWorker struct{}

func (idleWorker) Post(func() bool) {}

// newHub returns a hub that speaks the classroom's dialect.
func newHub(config hub.Config) *hub.Hub {
	h := hub.New(config, []hub.Worker{idleWorker{}})
	h.Serve(classroom.New(), "/")
	return h
}

func (idleWorker) PostBehind(func() bool) {}
func (idleWorker) PostAgain(func() bool)  {}
func (idleWorker) Spent() bool            { return false }
func (idleWorker) Now() uint32            { return 0 }

// start starts a relay on a directory. Its store writes when it is told to.
func start(t testing.TB, dir string, config hub.Config) *relay {
	t.Helper()
	r, err := tryStart(t, dir, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	return r
}

func tryStart(t testing.TB, dir string, config hub.Config) (*relay, error) {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	r := &relay{t: t, dir: dir, hub: newHub(config), store: s}
	if err := s.Restore(r.hub); err != nil {
		return nil, errors.Join(err, s.Close(context.Background()))
	}
	s.loadAll(nil)
	return r, nil
}

// kill ends the relay as a signal does that it cannot handle.
func (r *relay) kill() { _ = r.store.lock.Close() }

// stop ends it cleanly.
func (r *relay) stop() {
	r.t.Helper()
	r.hub.Drain()
	if err := r.store.Close(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// again returns a relay that is started after this one.
func (r *relay) again() *relay {
	r.t.Helper()
	return start(r.t, r.dir, *r.hub.Config())
}

// write writes what has changed.
func (r *relay) write() {
	r.t.Helper()
	if err := r.store.once(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *relay) create() (code string) {
	r.t.Helper()
	info, _, err := r.hub.CreateRoom(hub.RoomOptions{Name: "a room"})
	if err != nil {
		r.t.Fatal(err)
	}
	return info.Code
}

// say broadcasts numbers, the next of which is returned.
func (r *relay) say(code string, from, to int) {
	r.t.Helper()
	for i := from; i <= to; i++ {
		if _, err := classroom.Publish(r.hub, code, []byte(fmt.Sprint(i))); err != nil {
			r.t.Fatal(err)
		}
	}
}

func text(i int) string { return fmt.Sprintf(`{"type":"broadcast","data":%d}`, i) }

// room returns how the room is, nil if it is not there.
func (r *relay) room(code string) *hub.Snapshot {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	for room := range r.store.records {
		if s := room.Snapshot(); s.Code == code {
			return &s
		}
	}
	return nil
}

// has checks that a room holds the numbers from (or less, if it holds more) to
// the last.
func (r *relay) has(code string, from, last int) *hub.Snapshot {
	r.t.Helper()
	s := r.room(code)
	if s == nil {
		r.t.Fatalf("room %s is not there", code)
	}
	if s.Seq != uint64(last) {
		r.t.Fatalf("room %s ends with %d, want %d", code, s.Seq, last)
	}
	c := s.Oldest
	if c.Seq()+1 > uint64(from) {
		r.t.Errorf("room %s begins with %d, want %d", code, c.Seq()+1, from)
	}
	for i := int(c.Seq()) + 1; ; {
		whole, message := c.NextFrame()
		if whole == nil {
			break
		}
		if !message {
			continue
		}
		if got := string(frame.Payload(whole)); got != text(i) {
			r.t.Fatalf("broadcast %d is %s", i, got)
		}
		i++
	}
	return s
}

// files returns the names of the room's files, in order.
func (r *relay) files() (names []string) {
	entries, err := os.ReadDir(filepath.Join(r.dir, "rooms"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestACleanRestart(t *testing.T) {
	t.Parallel()
	r := start(t, filepath.Join(t.TempDir(), "new", "data"), hub.Config{})
	code, quiet := r.create(), r.create()
	r.say(code, 1, 5)
	r.write()
	r.say(code, 6, 9)
	before := r.has(code, 1, 9)
	r.stop()
	for range 3 {
		r = r.again()
		after := r.has(code, 1, 9)
		if after.Epoch != before.Epoch || after.Birth != before.Birth || len(after.Older) > 0 || after.Name != "a room" || after.Token != before.Token {
			t.Errorf("it was %+v, is %+v", before.Saved, after.Saved)
		}
		r.has(quiet, 1, 0)
		r.stop()
	}
	r = r.again()
	r.say(code, 10, 12)
	r.stop()
	r.again().has(code, 1, 12)
}

// TestAKill loses what was not written yet, and nothing else.
func TestAKill(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 5)
	r.write()
	r.say(code, 6, 9)
	epochs := []string{r.room(code).Epoch}
	r.kill()
	for i := range 3 { // of which nothing is written
		r = r.again()
		after := r.has(code, 1, 5)
		if slices.Contains(epochs, after.Epoch) || len(after.Older) != i+1 || after.Older[i] != (hub.Past{Epoch: epochs[i], Last: 5}) {
			t.Errorf("after %q it is %+v", epochs, after.Saved)
		}
		epochs = append(epochs, after.Epoch)
		r.kill()
		if len(r.files()) != 1 {
			t.Errorf("there are the files %q although nobody came", r.files())
		}
	}
	r = r.again()
	r.say(code, 6, 7)
	r.stop()
	after := r.again().has(code, 1, 7)
	if last := after.Older[len(after.Older)-1]; len(after.Older) != 4 || last.Last != 5 {
		t.Errorf("after a clean stop it is %+v", after.Saved)
	}
}

func TestAClosedRoomLeavesNothing(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	r.store.minFile = 1
	closed, open, unseen := r.create(), r.create(), r.create()
	r.hub.DeleteRoom(unseen)
	for i := range 5 {
		r.say(closed, i+1, i+1)
		r.write()
	}
	if n := r.store.Stats().Rooms; n != 2 {
		t.Errorf("%d rooms are on disk, want 2", n)
	}
	r.hub.DeleteRoom(closed)
	r.write()
	if files := r.files(); len(files) != 1 || !strings.HasPrefix(files[0], open) {
		t.Errorf("there are the files %q", files)
	}
	r.kill()
	r = r.again()
	if r.room(closed) != nil || r.room(open) == nil || r.store.Stats().Rooms != 1 {
		t.Errorf("the closed room is there: %t, the open one: %t", r.room(closed) != nil, r.room(open) != nil)
	}
}

// TestFilesTurn has files turn often, and be deleted when the room holds
// nothing of them any more.
func TestFilesTurn(t *testing.T) {
	t.Parallel()
	const retain, said, some = 4 << 10, 10_000, 20
	r := start(t, t.TempDir(), hub.Config{Retain: retain})
	r.store.minFile = 1 << 10
	code := r.create()
	most := 0
	for i := 1; i <= said; i += 10 {
		r.say(code, i, i+9)
		r.write()
		most = max(most, len(r.files()))
	}
	if most < 3 || most > 60 {
		t.Errorf("there were up to %d files", most)
	}
	r.stop()
	r = r.again()
	s := r.has(code, said-some, said)
	if s.Oldest.Seq() == 0 {
		t.Error("everything is there")
	}
	r.stop()
	for range 3 {
		r = r.again()
		r.has(code, said-some, said)
		r.kill()
	}
}

// TestManyStarts counts the files of a room that each start begins one for.
func TestManyStarts(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 9)
	r.write()
	for i := range 3 * maxFiles {
		if i%2 == 0 {
			r.kill()
		} else {
			r.stop()
		}
		r = r.again()
		r.has(code, 1, 9)
		if n := len(r.files()); n > maxFiles+1 {
			t.Fatalf("after %d starts there are %d files", i+1, n)
		}
	}
}

// TestManyAtOnce writes more than one part at once.
func TestManyAtOnce(t *testing.T) {
	const large = 300_000
	r := start(t, t.TempDir(), hub.Config{Retain: 16 << 20})
	info, _, err := r.hub.CreateRoom(hub.RoomOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := classroom.Publish(r.hub, info.Code, []byte(`"`+strings.Repeat(string(rune('a'+i)), large)+`"`)); err != nil {
			t.Fatal(err)
		}
	}
	r.write()
	if len(r.files()) != 1 || cap(r.store.buffer) > 2*maxPart {
		t.Errorf("there are %d files, and a buffer of %d bytes is kept", len(r.files()), cap(r.store.buffer))
	}
	r.kill()
	s := r.again().room(info.Code)
	c := s.Oldest
	for i := range 20 {
		whole, _ := c.NextFrame()
		if want := strings.Repeat(string(rune('a'+i)), large); !strings.Contains(string(frame.Payload(whole)), want) {
			t.Fatalf("broadcast %d is garbled", i+1)
		}
	}
	if s.Seq != 20 {
		t.Errorf("the last is %d", s.Seq)
	}
}

// TestNothingIsWrittenForNothing counts bytes.
func TestNothingIsWrittenForNothing(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.write()
	before := r.store.Stats().Written
	r.write()
	if now := r.store.Stats().Written; now != before {
		t.Errorf("%d bytes were written", now-before)
	}
	r.say(code, 1, 1)
	r.write()
	if n := r.store.Stats().Written - before; n > 64 {
		t.Errorf("%d bytes were written for a short broadcast", n)
	}
}

// TestALongStateIsNotWrittenEachTime has a room with so many kicked viewers that
// its state is longer than a file otherwise is.
func TestALongStateIsNotWrittenEachTime(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.write()
	s := r.room(code).Saved
	s.Code = "ABCDEF"
	for i := range 25_000 {
		s.Void = append(s.Void, [2]uint32{uint32(2*i + 1), uint32(2*i + 1)})
	}
	long, err := r.hub.Restore(s, nil, hub.Restoring{})
	if err != nil {
		t.Fatal(err)
	}
	r.hub.Wake(long)
	for i := range 200 {
		r.say(s.Code, i+1, i+1)
		r.write()
	}
	if n := len(r.files()); n > 3 {
		t.Errorf("two rooms have %d files", n)
	}
	r.kill()
}
