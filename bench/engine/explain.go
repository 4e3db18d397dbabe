package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"lectern/bench/wire"
)

// explain turns an error into one of few reasons, so that they can be counted.
func explain(err error) (reason, example string) {
	var status wire.StatusError
	var errno syscall.Errno
	var resolve *net.DNSError
	switch {
	case errors.Is(err, errRefused):
		return errRefused.Error(), err.Error()
	case errors.As(err, &status):
		return status.Error(), ""
	case errors.Is(err, wire.ErrGarbage):
		return wire.ErrGarbage.Error(), err.Error()
	case errors.Is(err, io.EOF):
		return "closed without a word", ""
	case errors.As(err, &resolve):
		return "name not found", err.Error()
	case errors.As(err, &errno):
		return errno.Error(), ""
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time", ""
	case errors.Is(err, net.ErrClosed):
		return "closed by the bench", ""
	default:
		return "error", err.Error()
	}
}
