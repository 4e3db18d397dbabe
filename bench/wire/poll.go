package wire

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"

	"github.com/gobwas/ws"
)

// A Poll is how a viewer of the relay reads a room by long-polling: each response has the
// events that there are, or the first one that comes, and the viewer then asks again. It
// joins with the first request.
type Poll struct{ EventStream }

// NewPoll makes the requests for the server of a URL, with "Name: value" lines of the
// caller's.
func NewPoll(u *url.URL, headers []string) Poll { return Poll{NewEventStream(u, headers)} }

// pollWait is how long the relay is asked to wait for an event.
const pollWait = "wait=25s"

// Request returns a request for a room's next events. {room} in it stands for the room.
func (p Poll) Request(at Place) string { return p.request(at, pollWait) }

// Answer takes nothing: the answer is a frame like the ones that follow.
func (Poll) Answer([]byte) (used int, complete bool, err error) { return 0, true, nil }

// Parse reads the response that b begins with, which is a frame with several events.
func (Poll) Parse(b []byte) (f Frame, used int, err error) {
	used, lines, err := readHead(b, 200)
	if used == 0 {
		return f, 0, err
	}
	n, err := strconv.ParseUint(field(lines, "Content-Length"), 10, 32)
	switch {
	case err != nil || n > MaxFrame:
		return f, 0, fmt.Errorf("%w: the response to a poll has the length %q", ErrGarbage, field(lines, "Content-Length"))
	case len(b) < used+int(n):
		return f, 0, nil
	}
	end := used + int(n)
	if n > 0 && !bytes.HasSuffix(b[:end], []byte("\n\n")) {
		return f, 0, fmt.Errorf("%w: the response to a poll ends in the middle of an event", ErrGarbage)
	}
	return Frame{Op: ws.OpBinary, Fin: true, Payload: b[used:end], Events: true}, end, nil
}
