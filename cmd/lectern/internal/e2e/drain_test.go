package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTheLogTellsHowLongADrainTakes at the start and at the end, and warns of a timeout
// that is too short.
func TestTheLogTellsHowLongADrainTakes(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--drain-timeout", "1ms", "--max-connections", "1000")
	openRoom(t, b) // a host that never answers the goodbye
	b.signal(syscall.SIGTERM)
	if exit := b.wait(20 * time.Second); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	first, rest, _ := strings.Cut(b.logged(), "\n")
	if !strings.Contains(first, `"viewers":1000,"drain":`) {
		t.Errorf("the first line is %s", first)
	}
	for _, want := range []string{"--drain-timeout cuts the drain of a full relay", `"msg":"relay drains","connections":1,"drain":`, `"timeout":1000000`} {
		if !strings.Contains(rest, want) {
			t.Errorf("the log lacks %q: %s", want, rest)
		}
	}
}

// TestShutdownDelay: until a second signal or the end of the delay the relay is not
// ready, and everything else goes on.
func TestShutdownDelay(t *testing.T) {
	t.Parallel()
	status := func(t *testing.T, url string) int {
		t.Helper()
		response, err := http.Get("http://" + url)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	t.Run("ends at a second signal", func(t *testing.T) {
		t.Parallel()
		b := startBinary(t, "--shutdown-delay", "1h")
		for _, addr := range []string{b.addr, b.admin} {
			if got := status(t, addr+"/health/ready"); got != 200 {
				t.Errorf("%s is ready with %d", addr, got)
			}
		}
		host, code := openRoom(t, b)
		b.signal(syscall.SIGTERM)
		eventually(t, "the delay has begun", func() bool { return strings.Contains(b.logged(), "drains after the delay") })
		for path, want := range map[string]int{"/health/ready": 503, "/health/live": 200} {
			for _, addr := range []string{b.addr, b.admin} {
				if got := status(t, addr+path); got != want {
					t.Errorf("%s%s: %d, want %d", addr, path, got, want)
				}
			}
		}
		viewer := joinRoom(t, b, code) // newcomers come in
		say(t, host, `{"type":"command","data":1}`)
		expect(t, viewer, `{"type":"command","data":1}`)
		openRoom(t, b)
		b.signal(syscall.SIGTERM)
		if got := hear(t, viewer); !strings.HasPrefix(got, `{"type":"closed","reason":"shutdown"`) {
			t.Errorf("heard %s", got)
		}
		go hearClose(t, host)
		hearClose(t, viewer)
		if exit := b.wait(20 * time.Second); exit != 0 {
			t.Errorf("exit code %d", exit)
		}
	})
	t.Run("ends by itself", func(t *testing.T) {
		t.Parallel()
		b := startBinary(t, "--shutdown-delay", "50ms")
		b.signal(syscall.SIGTERM)
		if exit := b.wait(20 * time.Second); exit != 0 {
			t.Errorf("exit code %d", exit)
		}
	})
	t.Run("second signal without a delay", func(t *testing.T) {
		t.Parallel()
		b := startBinary(t, "--drain-timeout", "1h", "--close-timeout", "10m")
		openRoom(t, b) // a host that never answers the goodbye
		b.signal(syscall.SIGTERM)
		eventually(t, "the drain has begun", func() bool { return strings.Contains(b.logged(), "relay drains") })
		b.signal(syscall.SIGTERM)
		if exit := b.wait(20 * time.Second); exit == 0 {
			t.Error("it ended as if it had drained")
		}
	})
}
