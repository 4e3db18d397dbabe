package systemd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// manager is the test as the service manager: it returns what the service tells it.
func manager(t *testing.T) (told <-chan string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	states := make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		state := make([]byte, 4096)
		for {
			n, err := socket.Read(state)
			if err != nil {
				return
			}
			states <- string(state[:n])
		}
	}()
	t.Cleanup(func() { socket.Close(); <-ended })
	return states
}

func TestStates(t *testing.T) {
	told := manager(t)
	for want, tell := range map[string]func() error{
		"^READY=1$":                                 Ready,
		"^RELOADING=1\nMONOTONIC_USEC=\\d+\n$":      Reloading,
		"^STOPPING=1\nEXTEND_TIMEOUT_USEC=2500000$": func() error { return Stopping(2500 * time.Millisecond) },
	} {
		if err := tell(); err != nil {
			t.Error(err)
		}
		if got := <-told; !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("the manager was told %q, want %s", got, want)
		}
	}
}

// TestAManagerThatDoesNotRead is not waited for.
func TestAManagerThatDoesNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for range 10_000 {
		if err := Ready(); err != nil {
			return
		}
	}
	t.Error("a socket that nobody reads takes everything")
}

func TestWithoutAManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready(); err != nil {
		t.Error(err)
	}
	if err := FeedWatchdog(t.Context(), func(context.Context) error { t.Error("it was asked"); return nil }); err != nil {
		t.Error(err)
	}
	if s, err := TakeSockets(); s != (Sockets{}) || err != nil {
		t.Errorf("%v, %v", s, err)
	}
}

// TestTheWatchdogStarves when the service does not work, and eats again when it does.
func TestTheWatchdogStarves(t *testing.T) {
	told := manager(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	ctx, cancel := context.WithCancel(t.Context())
	works := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- FeedWatchdog(ctx, func(ctx context.Context) error {
			select {
			case <-works:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	for range 3 {
		select {
		case state := <-told:
			t.Fatalf("told %q while nothing works", state)
		case <-time.After(50 * time.Millisecond):
		}
		works <- struct{}{}
		if state := <-told; state != "WATCHDOG=1" {
			t.Errorf("told %q", state)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNonsenseInTheEnvironment(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := FeedWatchdog(t.Context(), func(context.Context) error { return nil }); err == nil {
		t.Error("a time that is no number was taken")
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()+1))
	t.Setenv("LISTEN_FDS", "1")
	if s, err := TakeSockets(); s != (Sockets{}) || err != nil {
		t.Errorf("took %v, %v of another process", s, err)
	}
}
