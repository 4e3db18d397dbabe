//go:build linux

package netpoll

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// socketPath returns a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lectern")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serveEcho serves an echo on a listener. What Serve returns comes when the listener is
// closed.
func serveEcho(t *testing.T, l *Listener) (served chan error) {
	t.Helper()
	pool, err := New(Config{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	served = make(chan error, 1)
	go func() {
		served <- pool.Serve(l, func(_ *Worker, c *Conn) Session {
			return &echo{conn: c, reading: true, writing: true, closed: make(chan error, 1)}
		})
	}()
	return served
}

func TestAUnixSocketCarriesConnections(t *testing.T) {
	path := socketPath(t)
	l, err := Listen(t.Context(), UnixPrefix+path, SocketOptions{Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	served := serveEcho(t, l)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, 5)
	if _, err := io.ReadFull(c, back); err != nil || string(back) != "hello" {
		t.Errorf("%q, %v", back, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestWhatIsAtThePathOfASocket(t *testing.T) {
	t.Run("a process listens", func(t *testing.T) {
		path := socketPath(t)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := Listen(t.Context(), UnixPrefix+path, SocketOptions{}); !errors.Is(err, ErrSocketInUse) || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%v", err)
		}
		if _, err := net.Dial("unix", path); err != nil {
			t.Errorf("the socket of the other process is gone: %v", err)
		}
	})
	t.Run("a process has died", func(t *testing.T) {
		path := socketPath(t)
		dead, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		dead.(*net.UnixListener).SetUnlinkOnClose(false)
		dead.Close()
		l, err := Listen(t.Context(), UnixPrefix+path, SocketOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		path := socketPath(t)
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(t.Context(), UnixPrefix+path, SocketOptions{}); err == nil {
			t.Error("a file was replaced by a socket")
		}
		if text, err := os.ReadFile(path); string(text) != "precious" {
			t.Errorf("the file has %q, %v", text, err)
		}
	})
}

// TestAnInheritedSocketStays: who passed it on may go on listening.
func TestAnInheritedSocketStays(t *testing.T) {
	open := map[string]func(t *testing.T) net.Listener{
		"tcp": func(t *testing.T) net.Listener {
			var config net.ListenConfig
			config.SetMultipathTCP(false) // which lacks some of the options
			l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		"unix": func(t *testing.T) net.Listener {
			l, err := net.Listen("unix", socketPath(t))
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
	}
	for name, listen := range open {
		t.Run(name, func(t *testing.T) {
			keeper := listen(t)
			defer keeper.Close()
			for range 2 {
				file, err := keeper.(interface{ File() (*os.File, error) }).File()
				if err != nil {
					t.Fatal(err)
				}
				l, err := Inherit(file, SocketOptions{})
				if err != nil {
					t.Fatal(err)
				}
				file.Close()
				early, err := net.Dial(name, keeper.Addr().String()) // waits in the backlog
				if err != nil {
					t.Fatal(err)
				}
				served := serveEcho(t, l)
				if _, err := io.WriteString(early, "hello"); err != nil {
					t.Fatal(err)
				}
				back := make([]byte, 5)
				if _, err := io.ReadFull(early, back); err != nil {
					t.Error(err)
				}
				early.Close()
				if err := errors.Join(l.Close(), <-served); err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Run("no listener", func(t *testing.T) {
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := Inherit(file, SocketOptions{}); err == nil {
			t.Error("a file was taken for a listener")
		}
	})
}

// TestAConnectionBecomesAnotherSessions: the first session takes a line, the second what
// follows it, in the same chunk and later.
func TestAConnectionBecomesAnotherSessions(t *testing.T) {
	second := make(chan *echo, 1)
	s := serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) {
			next := &echo{conn: e.conn, reading: true, writing: true, closed: make(chan error, 1)}
			second <- next
			e.conn.Become(next, p[4:])
		}
	})
	c := s.dial(t)
	for _, said := range []string{"all hello", "again"} {
		if _, err := io.WriteString(c, said); err != nil {
			t.Fatal(err)
		}
		want := said
		if said == "all hello" {
			want = said[4:]
		}
		back := make([]byte, len(want))
		if _, err := io.ReadFull(c, back); err != nil || string(back) != want {
			t.Errorf("%q, %v", back, err)
		}
	}
	c.Close()
	if err := within(t, "the end of the second session", (<-second).closed); err != io.EOF {
		t.Errorf("%v", err)
	}
}
