package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"lectern/cmd/lectern/internal/config/configtest"
)

// An entrance is the answer to a client that enters a room.
type entrance struct {
	Type, Code, Token, Epoch string

	ID, Seq, Sent            int
	Common                   *int
	Resumed, Host, Recovered bool
}

// asks sends a message and returns the answer.
func asks(t testing.TB, c *websocket.Conn, format string, args ...any) (e entrance) {
	t.Helper()
	say(t, c, fmt.Sprintf(format, args...))
	answer := hear(t, c)
	if err := json.Unmarshal([]byte(answer), &e); err != nil || e.Type == "error" {
		t.Fatalf("%s was answered %s", fmt.Sprintf(format, args...), answer)
	}
	return e
}

func numbered(n int) string { return fmt.Sprintf(`{"type":"command","data":%d}`, n) }

// A keptLecture has a host and two viewers, one of which leaves after the fourth of ten
// broadcasts.
type keptLecture struct {
	host, early, late entrance // as they were told
	seen              int      // by the early one
}

const lectureSaid = 10

// holdLecture holds the lecture, and returns when everything is on disk.
func holdLecture(t *testing.T, b *binary) (l keptLecture) {
	t.Helper()
	host, early, late := dial(t, b.url("/")), dial(t, b.url("/")), dial(t, b.url("/"))
	l.host = asks(t, host, `{"type":"create","history":"relay","secret":"right"}`)
	l.early = asks(t, early, `{"type":"join","code":"%s","secret":"right"}`, l.host.Code)
	l.late = asks(t, late, `{"type":"join","code":"%s","secret":"right"}`, l.host.Code)
	l.seen = 4
	for i := 1; i <= lectureSaid; i++ {
		say(t, host, numbered(i))
		expect(t, late, numbered(i))
		if i <= l.seen {
			expect(t, early, numbered(i))
		}
		if i == l.seen {
			_ = early.CloseNow()
		}
	}
	b.settles()
	go hearClose(t, host) // both answer the relay's close frame, so that its end is quick
	go hearClose(t, late)
	return l
}

// settles waits until nothing more is written to disk.
func (b *binary) settles() {
	b.t.Helper()
	last, since := -1.0, time.Now()
	eventually(b.t, "everything is on disk", func() bool {
		if now := b.metric("lectern_data_written_bytes_total"); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

// goesOn has everybody come back to a lecture.
func (l *keptLecture) goesOn(t *testing.T, b *binary, sameEpoch bool) {
	t.Helper()
	early := dial(t, b.url("/"))
	back := asks(t, early, `{"type":"join","code":"%s","token":"%s","epoch":"%s","seq":%d}`, l.host.Code, l.early.Token, l.early.Epoch, l.seen)
	if !back.Recovered || back.ID != l.early.ID || back.Seq != l.seen || back.Host || (back.Epoch == l.host.Epoch) != sameEpoch {
		t.Errorf("the viewer that had gone was told %+v", back)
	}
	for i := l.seen + 1; i <= lectureSaid; i++ {
		expect(t, early, numbered(i))
	}
	host := dial(t, b.url("/"))
	again := asks(t, host, `{"type":"resume","code":"%s","token":"%s"}`, l.host.Code, l.host.Token)
	if !again.Resumed || again.Seq != lectureSaid || again.Sent != lectureSaid || again.Epoch != back.Epoch || again.Token != l.host.Token {
		t.Errorf("the host was told %+v", again)
	}
	expect(t, early, `{"type":"host_back"}`)
	late := dial(t, b.url("/"))
	back = asks(t, late, `{"type":"join","code":"%s","token":"%s","epoch":"%s","seq":%d}`, l.host.Code, l.late.Token, l.late.Epoch, lectureSaid)
	if !back.Recovered || back.ID != l.late.ID || back.Seq != lectureSaid || !back.Host {
		t.Errorf("the viewer that had stayed was told %+v", back)
	}
	say(t, host, numbered(lectureSaid+1))
	for _, c := range []*websocket.Conn{early, late} {
		expect(t, c, numbered(lectureSaid+1))
	}
	say(t, early, `{"type":"history_request"}`)
	if history := hear(t, early); !strings.Contains(history, `"commands":[1,2,3,4,5,6,7,8,9,10,11]`) {
		t.Errorf("the history is %s", history)
	}
}

func TestALectureSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	b := startBinary(t, "--data", dir)
	l := holdLecture(t, b)
	b.signal(syscall.SIGKILL)
	b.wait(10 * time.Second)
	b = startBinary(t, "--data", dir)
	l.goesOn(t, b, false)
}

func TestALectureSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	b := startBinary(t, "--data", dir, "--data-every", "1h") // only the end writes it
	host := dial(t, b.url("/"))
	room := asks(t, host, `{"type":"create"}`)
	say(t, host, numbered(1))
	say(t, host, `{"type":"ping"}`)
	expect(t, host, `{"type":"pong"}`)
	b.signal(syscall.SIGTERM)
	if told := hear(t, host); !strings.HasPrefix(told, `{"type":"closed","reason":"shutdown","retry_ms":`) {
		t.Errorf("the host was told %s", told)
	}
	hearClose(t, host)
	if code := b.wait(20 * time.Second); code != 0 {
		t.Fatalf("it ended with %d", code)
	}
	b = startBinary(t, "--data", dir)
	if again := asks(t, dial(t, b.url("/")), `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token); again.Epoch != room.Epoch || again.Sent != 1 {
		t.Errorf("the host was told %+v", again)
	}

	b = startBinary(t, "--data", filepath.Join(dir, "other"))
	l := holdLecture(t, b)
	b.signal(syscall.SIGTERM)
	if code := b.wait(20 * time.Second); code != 0 {
		t.Fatalf("it ended with %d", code)
	}
	b = startBinary(t, "--data", filepath.Join(dir, "other"))
	l.goesOn(t, b, true)
}

// TestDataThatCannotBeKept: the relay refuses to start, and says why.
func TestDataThatCannotBeKept(t *testing.T) {
	t.Parallel()
	used := t.TempDir()
	startBinary(t, "--data", used)
	file := configtest.WriteFile(t, "file", "")
	for name, c := range map[string]struct{ dir, want string }{
		"in use":     {used, "another relay, process "},
		"not a dir":  {file, "not a directory"},
		"in no dir":  {filepath.Join(file, "data"), "not a directory"},
		"impossible": {"/proc/lectern", "/proc/lectern"},
	} {
		refused := exec.Command(binaryPath, "serve", "--addr", "127.0.0.1:0", "--admin-addr", "", "--data", c.dir)
		said, err := refused.CombinedOutput()
		if err == nil || !strings.Contains(string(said), "lectern: --data: keep rooms in "+c.dir) || !strings.Contains(string(said), c.want) {
			t.Errorf("%s: %v, it said %s", name, err, said)
		}
	}
	checks := func(dir string) error { return exec.Command(binaryPath, "check", "--data", dir).Run() }
	if err := checks(used); err != nil {
		t.Errorf("a directory in use does not pass the check: %v", err)
	}
	if err := checks(file); err == nil {
		t.Error("a file passes the check")
	}
}

// smallDisk returns a folder that is a file system of 128 KiB, empty where none can be
// mounted. It ends with the test.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Logf("a small file system cannot be mounted here: %v", err)
		return ""
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestAFullDiskIsTold holds a lecture while a small disk is full, where one can be
// mounted. hub/store tests the same without a disk.
func TestAFullDiskIsTold(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	if dir == "" {
		return
	}
	b := startBinary(t, "--data", dir)
	host, viewer := dial(t, b.url("/")), dial(t, b.url("/"))
	room := asks(t, host, `{"type":"create","history":"relay"}`)
	asks(t, viewer, `{"type":"join","code":"%s"}`, room.Code)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	n := 0
	eventually(t, "the disk's failure is told", func() bool {
		n++
		text := fmt.Sprintf(`{"type":"command","data":"%d %s"}`, n, strings.Repeat("x", 5000))
		say(t, host, text)
		expect(t, viewer, text) // the lecture goes on
		return b.metric("lectern_data_failing") == 1 && b.metric("lectern_data_errors_total") > 0
	})
	if log := b.logged(); !strings.Contains(log, "rooms cannot be written to disk") || !strings.Contains(log, "no space left on device") {
		t.Error("the log does not tell")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk works again", func() bool { return b.metric("lectern_data_failing") == 0 })
	b.settles()
	b.signal(syscall.SIGKILL)
	b.wait(10 * time.Second)
	b = startBinary(t, "--data", dir)
	if back := asks(t, dial(t, b.url("/")), `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token); back.Sent != n {
		t.Errorf("of %d broadcasts it has %d", n, back.Sent)
	}
}
