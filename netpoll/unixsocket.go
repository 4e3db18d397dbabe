//go:build linux

package netpoll

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// UnixPrefix begins the address of a Unix-domain socket. The path of its file follows.
const UnixPrefix = "unix:"

// ErrSocketInUse is the error of listening at a path where another process listens.
var ErrSocketInUse = errors.New("netpoll: another process listens at the socket")

// ListenUnix listens at a path. The file gets the mode. A socket that a process left
// behind when it died is replaced; anything else at the path is an error.
func ListenUnix(ctx context.Context, path string, mode os.FileMode) (*net.UnixListener, error) {
	l, err := listenUnix(ctx, path, mode)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	return listenUnix(ctx, path, mode)
}

func listenUnix(ctx context.Context, path string, mode os.FileMode) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var changed error
		// bind makes the file with the mode of the socket, less the umask. So at no time
		// may anybody connect who may not later.
		err := raw.Control(func(fd uintptr) { changed = unix.Fchmod(int(fd), uint32(mode.Perm())) })
		return errors.Join(err, os.NewSyscallError("fchmod", changed))
	}}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.UnixListener), nil
}

// staleTimeout bounds the wait for an answer from whatever holds a socket.
const staleTimeout = time.Second

// removeStale removes the socket of a process that has ended.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen unix %s: the file is not a socket: %w", path, syscall.EADDRINUSE)
	}
	c, err := net.DialTimeout("unix", path, staleTimeout)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	if err == nil {
		_ = c.Close()
	}
	return fmt.Errorf("%w %s: %w", ErrSocketInUse, path, syscall.EADDRINUSE)
}

// Inherit makes a Listener of a listening stream socket that another process opened and
// passed on. TCP connections carry the options. The file may be closed afterwards; Close
// leaves the other process's socket, and the path of a Unix-domain socket, as they are.
func Inherit(file *os.File, options SocketOptions) (*Listener, error) {
	options = options.withDefaults()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("take over %s: %w", file.Name(), err)
	}
	idle := 0
	if tcp, ok := l.(*net.TCPListener); ok {
		raw, err := tcp.SyscallConn()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		var set error
		err = raw.Control(func(fd uintptr) { set = options.set(int(fd)) })
		if err := errors.Join(err, set); err != nil {
			return nil, errors.Join(fmt.Errorf("take over %s: %w", l.Addr(), err), l.Close())
		}
		idle = options.idle()
	}
	return newListener(l, "", idle)
}
