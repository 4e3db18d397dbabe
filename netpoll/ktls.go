//go:build linux

package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/tls.h names.
const (
	solTLS        = 282
	tlsTX         = 1
	tlsRX         = 2
	setRecordType = 1
	getRecordType = 2

	recordAlert = 21
)

// ErrRekeyed is the error of a connection whose peer changed its key while the kernel
// decrypts. The kernel cannot follow, and the key is no longer here.
var ErrRekeyed = errors.New("netpoll: the peer changed the key of a connection that the kernel decrypts")

// An Offloader is a Transport whose work the kernel can do.
type Offloader interface {
	Transport
	// Offload returns what setsockopt takes for TLS_TX and TLS_RX (linux/tls.h), or
	// empty slices if the kernel cannot take over at this moment. After it has, the
	// transport is not used any more.
	Offload() (send, receive []byte)
}

// KernelTLS tells why the kernel cannot encrypt and decrypt TLS records, nil if it can.
// The module "tls" must be loaded, or the process must be allowed to have it loaded
// (CAP_NET_ADMIN).
func KernelTLS() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	control := raw.Control(func(fd uintptr) { err = useTLS(int(fd)) })
	return errors.Join(control, err)
}

func useTLS(fd int) error {
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "tls"); err != nil {
		return fmt.Errorf("set TCP_ULP to tls: %w", os.NewSyscallError("setsockopt", err))
	}
	return nil
}

// offload hands the connection's records to the kernel, if the pool may, nothing is
// buffered here, and the kernel takes them. Then the connection is as one without a
// transport, but for the records that are no data.
func (c *Conn) offload() {
	t, ok := c.carrier.transport.(Offloader)
	if !ok || !c.worker.pool.kernelTLS || c.carrier.rest != nil || t.Buffered() > 0 {
		return
	}
	send, receive := t.Offload()
	fd := int(c.fd)
	if len(send) == 0 || useTLS(fd) != nil || unix.SetsockoptString(fd, solTLS, tlsRX, string(receive)) != nil {
		return // as before: a socket with the protocol, and without keys, changes nothing
	}
	if err := unix.SetsockoptString(fd, solTLS, tlsTX, string(send)); err != nil {
		c.close(fmt.Errorf("set TLS_TX: %w", os.NewSyscallError("setsockopt", err)))
		return
	}
	c.carrier.count(c.worker)
	t.Close()
	c.carrier = nil
	c.sending |= encrypting
	c.worker.stats.offloaded.Add(1)
	c.ready(eventRead, anew) // the edge may have come before
}

// endKernel sends close_notify (RFC 8446 6.1) on a connection that the kernel encrypts.
func endKernel(fd int) {
	const closeNotify = "\x01\x00"
	control := make([]byte, unix.CmsgSpace(1))
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(control)))
	h.Level, h.Type = solTLS, setRecordType
	h.SetLen(unix.CmsgLen(1))
	control[unix.CmsgLen(0)] = recordAlert
	_, _ = unix.SendmsgN(fd, []byte(closeNotify), control, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) // a full socket is closed without
}

// receiveRecord reads a record that is no data, which recv reports as EIO. It returns
// why the connection ends.
func receiveRecord(fd int) error {
	body, control := make([]byte, 64), make([]byte, unix.CmsgSpace(1))
	n, size, _, _, err := unix.Recvmsg(fd, body, control, unix.MSG_DONTWAIT)
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) != 1 || len(messages[0].Data) < 1 || messages[0].Header.Type != getRecordType {
		return syscall.EIO
	}
	if messages[0].Data[0] != recordAlert || n != 2 {
		return ErrRekeyed
	}
	if body[1] == 0 { // close_notify
		return io.EOF
	}
	return fmt.Errorf("netpoll: the peer sent TLS alert %d", body[1])
}
