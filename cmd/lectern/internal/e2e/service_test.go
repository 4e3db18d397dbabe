package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// startService starts a relay as a service manager does, with the variables and
// listening sockets. The sockets stay open here.
func startService(t *testing.T, environ []string, sockets []net.Listener, flags ...string) *binary {
	t.Helper()
	// The variable has to name the process that the shell becomes.
	command := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh", binaryPath, "serve",
		"--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--log-format", "json"}, flags...)...)
	command.Env = append(os.Environ(), environ...)
	for _, l := range sockets {
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		command.ExtraFiles = append(command.ExtraFiles, file)
	}
	command.Env = append(command.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES=lectern.socket:admin")
	return startCommand(t, command)
}

// listenAsManager returns a listening socket as systemd makes it.
func listenAsManager(t *testing.T) net.Listener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestTheServiceManagerIsTold when the relay is ready, reads its configuration again,
// works and stops.
func TestTheServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	told := func(want string) {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(20 * time.Second))
		for state := make([]byte, 4096); ; {
			n, err := socket.Read(state)
			if err != nil {
				t.Fatalf("the manager waits for %s: %v", want, err)
			}
			if got := string(state[:n]); strings.HasPrefix(got, want) {
				return
			} else if got != "WATCHDOG=1" {
				t.Errorf("the manager was told %q, want %s", got, want)
			}
		}
	}
	b := startService(t, []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=300000"}, nil, "--close-timeout", "1s")
	told("READY=1")
	told("WATCHDOG=1")
	told("WATCHDOG=1")
	b.signal(syscall.SIGHUP)
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	openRoom(t, b) // a host that never answers the goodbye
	b.signal(syscall.SIGTERM)
	told("STOPPING=1\nEXTEND_TIMEOUT_USEC=")
	told("WATCHDOG=1") // the drain goes on
	if exit := b.wait(20 * time.Second); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
}

// TestARestartRefusesNobody: clients connect without a pause while the service manager,
// which keeps the listening sockets, restarts the relay. Every handshake is completed,
// and every room that was asked for is created or told to come back.
func TestARestartRefusesNobody(t *testing.T) {
	t.Parallel()
	sockets := []net.Listener{listenAsManager(t), listenAsManager(t)}
	url, many := "ws://"+sockets[0].Addr().String()+"/", []string{"--max-rooms-per-address", "100000"}
	b := startService(t, nil, sockets, many...)
	if b.addr != sockets[0].Addr().String() || b.admin != sockets[1].Addr().String() {
		t.Fatalf("the relay listens at %s and %s", b.addr, b.admin)
	}
	_ = b.metric("lectern_rooms")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var mu sync.Mutex
	answers := make(map[string]int)
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				answer := comeIn(t, url)
				mu.Lock()
				answers[answer]++
				mu.Unlock()
			}
		})
	}
	for range 3 {
		time.Sleep(200 * time.Millisecond)
		b.signal(syscall.SIGTERM)
		if exit := b.wait(20 * time.Second); exit != 0 {
			t.Errorf("exit code %d", exit)
		}
		time.Sleep(100 * time.Millisecond) // clients wait in the backlog
		b = startService(t, nil, sockets, many...)
	}
	time.Sleep(200 * time.Millisecond)
	cancel()
	clients.Wait()
	t.Log(answers)
	if answers["created"] < 100 || len(answers) > 2 || len(answers) == 2 && answers["shutdown"] == 0 {
		t.Errorf("clients were answered %v", answers)
	}
}

// comeIn connects, asks for a room and returns how that was answered.
func comeIn(t *testing.T, url string) (answer string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Errorf("a client was refused: %v", err)
		return "refused"
	}
	defer c.CloseNow()
	// The relay may have closed the connection already; it then has said so.
	_ = c.Write(ctx, websocket.MessageText, []byte(`{"type":"create"}`))
	_, text, err := c.Read(ctx)
	if strings.Contains(string(text), `"too_many_rooms"`) { // a relay that drains has no rooms to give, and says why next
		_, text, err = c.Read(ctx)
	}
	switch {
	case err != nil:
		t.Errorf("a client with a connection heard nothing: %v", err)
		return "nothing"
	case strings.HasPrefix(string(text), `{"type":"created"`):
		return "created"
	case strings.HasPrefix(string(text), `{"type":"closed","reason":"shutdown"`):
		return "shutdown"
	}
	return string(text)
}

// TestTwoSocketsForOneAddress are a mistake of the service's units.
func TestTwoSocketsForOneAddress(t *testing.T) {
	t.Parallel()
	command := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", binaryPath, "serve")
	command.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=one:two")
	for range 2 {
		file, err := listenAsManager(t).(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		command.ExtraFiles = append(command.ExtraFiles, file)
	}
	said, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(string(said), `two sockets are passed for one address, "one" and "two"`) {
		t.Errorf("%v: %s", err, said)
	}
}
