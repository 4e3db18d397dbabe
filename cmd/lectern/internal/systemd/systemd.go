// Package systemd is how a service under systemd, or another manager that follows
// sd_notify(3) and sd_listen_fds(3), tells how it is and takes its listening sockets.
// Without such a manager every call does nothing.
//
// The package knows nothing of the service.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// adminName is the FileDescriptorName= of the admin address's socket.
const adminName = "admin"

// Sockets are the listening sockets that the manager has opened. The caller closes the
// files.
type Sockets struct {
	Relay *os.File // nil if there is none
	Admin *os.File // the one named "admin"; nil if there is none
}

// TakeSockets returns the sockets, and removes from the environment what names them. It
// is an error if two sockets are for the same purpose.
func TakeSockets() (Sockets, error) {
	var s Sockets
	var err error
	for _, file := range activation.Files(true) {
		place := &s.Relay
		if file.Name() == adminName {
			place = &s.Admin
		}
		if *place != nil {
			err = errors.Join(err, fmt.Errorf("systemd: two sockets are passed for one address, %q and %q", (*place).Name(), file.Name()), file.Close())
			continue
		}
		*place = file
	}
	if err != nil {
		return Sockets{}, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the files.
func (s Sockets) Close() error {
	var err error
	for _, file := range []*os.File{s.Relay, s.Admin} {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
	}
	return err
}

// Ready tells that the service has started, or has read its configuration again.
func Ready() error { return notify("READY=1") }

// Reloading tells that the service reads its configuration again.
func Reloading() error { return notify("RELOADING=1", daemon.SdNotifyMonotonicUsec()) }

// Stopping tells that the service stops, and how long that may take.
func Stopping(within time.Duration) error {
	return notify("STOPPING=1", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", within.Microseconds()))
}

// notifyTimeout bounds the wait for a manager that does not read what it is told.
const notifyTimeout = time.Second

// notify sends the manager a datagram. The library's SdNotify would wait for as long as
// the manager's socket is full, and the relay could not even stop.
func notify(states ...string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(notifyTimeout))
	if _, err := c.Write([]byte(strings.Join(states, "\n"))); err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	return nil
}
