package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"lectern/hub"
	"lectern/hub/classroom"
	"lectern/hub/store"
)

// A quietWorker is the worker of a hub without connections.
type quietWorker struct{}

func (quietWorker) Post(func() bool)       {}
func (quietWorker) PostBehind(func() bool) {}
func (quietWorker) PostAgain(func() bool)  {}
func (quietWorker) Spent() bool            { return false }
func (quietWorker) Now() uint32            { return 0 }

// fillData has a relay without connections leave so many rooms in a directory,
// with 16 broadcasts each, and returns their codes and their hosts' tokens.
func fillData(t *testing.T, dir string, rooms, bytes int) (codes, tokens []string) {
	t.Helper()
	data := []byte(`"` + strings.Repeat("x", bytes/16-40) + `"`)
	for len(codes) < rooms {
		s, err := store.Open(store.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		h := hub.New(hub.Config{}, []hub.Worker{quietWorker{}})
		h.Serve(classroom.New(), "/")
		if err := s.Restore(h); err != nil {
			t.Fatal(err)
		}
		for range min(500, rooms-len(codes)) { // not all of them in memory at once
			info, token, err := h.CreateRoom(hub.RoomOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for range 16 {
				if _, err := classroom.Publish(h, info.Code, data); err != nil {
					t.Fatal(err)
				}
			}
			codes, tokens = append(codes, info.Code), append(tokens, token)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return codes, tokens
}

// ready waits until the relay is ready.
func (b *binary) ready() {
	b.t.Helper()
	eventually(b.t, "the relay is ready", func() bool {
		response, err := http.Get("http://" + b.addr + "/health/ready")
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, response.Body)
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
}

// peakMemory returns the largest resident memory that the process has had, in MB.
func (b *binary) peakMemory() (mb int) {
	b.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	if m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status); m != nil {
		_, _ = fmt.Sscan(string(m[1]), &mb)
	}
	return mb / 1024
}

// TestManyRoomsAreReadySoon kills a relay that has many rooms and starts it again. It
// serves at once; a host that comes back before its room was read waits for it; and all
// rooms together keep --retain-total. With -soak there are as many rooms as a relay has
// by default, and then the fullest.
func TestManyRoomsAreReadySoon(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	sizes := []struct{ rooms, bytes, total int }{{500, 64 << 10, 16 << 20}}
	if *soakTime > 0 {
		sizes = []struct{ rooms, bytes, total int }{{10_000, 64 << 10, 256 << 20}, {4000, 256 << 10, 256 << 20}}
	}
	for _, c := range sizes {
		at := fmt.Sprintf("%s-%d", dir, c.rooms)
		codes, tokens := fillData(t, at, c.rooms, c.bytes)
		b := startBinary(t, "--data", at)
		b.signal(syscall.SIGKILL)
		b.wait(10 * time.Second)
		began := time.Now()
		b = startBinary(t, "--data", at, "--retain-total", fmt.Sprint(c.total))
		b.ready()
		ready := time.Since(began)
		for i := len(codes) - 1; i > 0; i -= len(codes) / 10 {
			asked := time.Now()
			host := dial(t, b.url("/"))
			back := asks(t, host, `{"type":"resume","code":"%s","token":"%s"}`, codes[i], tokens[i])
			_ = host.CloseNow() // or the end would wait for its close frame
			if back.Sent != 0 || back.Seq != 16 {
				t.Errorf("a host was told %+v", back)
			}
			if d := time.Since(asked); d > 3*time.Second {
				t.Errorf("a host waited %s for its room", d)
			}
		}
		eventually(t, "all rooms are there", func() bool { return strings.Contains(b.logged(), `"rooms restored"`) })
		all := time.Since(began)
		if held := b.metric("lectern_log_bytes"); held > float64(c.total)*1.01 || held < float64(c.total)/2 {
			t.Errorf("the rooms hold %.0f bytes of %d", held, c.total)
		}
		if n := b.metric("lectern_rooms"); n != float64(c.rooms) {
			t.Errorf("there are %.0f rooms", n)
		}
		t.Logf("%d rooms of %d bytes: ready after %s, all there after %s, %d MB at most", c.rooms, c.bytes, ready, all, b.peakMemory())
		if ready > 3*time.Second {
			t.Errorf("it was ready after %s", ready)
		}
		stopped := time.Now()
		b.signal(syscall.SIGTERM)
		if code := b.wait(30 * time.Second); code != 0 {
			t.Errorf("it ended with %d", code)
		}
		t.Logf("it ended within %s", time.Since(stopped))
	}
}

// TestAStartOnAFullDisk starts a relay on a disk without a free byte, where one can be
// mounted: with a directory that a clean stop has left, and with a new one.
func TestAStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	if dir == "" {
		return
	}
	used := filepath.Join(dir, "used")
	b := startBinary(t, "--data", used)
	host := dial(t, b.url("/"))
	room := asks(t, host, `{"type":"create"}`)
	say(t, host, numbered(1))
	b.settles()
	b.signal(syscall.SIGTERM)
	hearClose(t, host)
	b.wait(20 * time.Second)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	for _, at := range []string{used, filepath.Join(dir, "new")} {
		b = startBinary(t, "--data", at)
		b.ready()
		eventually(t, "the failure is told", func() bool { return b.metric("lectern_data_failing") == 1 })
		if log := b.logged(); !strings.Contains(log, "no space left on device") {
			t.Error("the log does not tell")
		}
		host = dial(t, b.url("/"))
		if at == used {
			back := asks(t, host, `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
			if back.Sent != 1 || back.Epoch == room.Epoch {
				t.Errorf("the host was told %+v", back)
			}
			room.Epoch = back.Epoch
		} else {
			room = asks(t, host, `{"type":"create"}`)
		}
		viewer := dial(t, b.url("/"))
		asks(t, viewer, `{"type":"join","code":"%s"}`, room.Code)
		say(t, host, numbered(2))
		expect(t, viewer, numbered(2)) // the lecture goes on
		if at == used {
			b.signal(syscall.SIGKILL)
			b.wait(10 * time.Second)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk works again", func() bool { return b.metric("lectern_data_failing") == 0 })
	b.settles()
	b.signal(syscall.SIGKILL)
	b.wait(10 * time.Second)
	b = startBinary(t, "--data", filepath.Join(dir, "new"))
	if back := asks(t, dial(t, b.url("/")), `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token); back.Sent != 1 || back.Epoch == room.Epoch {
		t.Errorf("the host was told %+v", back)
	}
}
