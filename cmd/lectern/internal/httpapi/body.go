package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"lectern/hub/budget"
)

// How the memory of a body counts into the budget.
const (
	bodyCopies = 4        // of a body exist while it is read, parsed and broadcast
	bodyStep   = 64 << 10 // bytes; a body of unknown size is counted in such steps
)

// errNoMemory refuses a body that does not fit into the memory budget.
var errNoMemory = &problem{http.StatusServiceUnavailable, "the relay is short of memory; try again"}

// A reservation is the part of the memory budget that a request holds.
type reservation struct {
	budget *budget.Budget
	held   int64 // bytes
}

// take reserves memory for n more bytes of a body, with all its copies. It reports
// false if the budget is full.
func (c *reservation) take(n int64) bool {
	n *= bodyCopies
	c.budget.Add(budget.HTTP, n)
	if c.budget.Level() >= budget.Full {
		c.budget.Add(budget.HTTP, -n)
		return false
	}
	c.held += n
	return true
}

// giveBack ends the reservation.
func (c *reservation) giveBack() {
	c.budget.Add(budget.HTTP, -c.held)
	c.held = 0
}

// readBody returns the body of a request, which must be in JSON and have at most
// limit bytes. It allocates memory for the bytes that have come, not for the declared
// length; but the declared length must fit into the budget before it reads a byte.
func readBody(w http.ResponseWriter, r *http.Request, limit int, memory *reservation) ([]byte, error) {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := parameters["charset"]
	if err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, &problem{http.StatusUnsupportedMediaType, "the body must be application/json, in UTF-8"}
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, &problem{http.StatusUnsupportedMediaType, "the body must not be compressed"}
	}
	tooLarge := &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body must have at most %d bytes", limit)}
	if r.ContentLength > int64(limit) {
		return nil, tooLarge
	}
	var source io.Reader = http.MaxBytesReader(w, r.Body, int64(limit))
	switch {
	case r.ContentLength < 0: // it comes in chunks
		source = &countedBody{from: source, memory: memory}
	case !memory.take(r.ContentLength):
		return nil, errNoMemory
	}
	body, err := io.ReadAll(source)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case errors.Is(err, errNoMemory):
		return nil, errNoMemory
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &problem{http.StatusRequestTimeout, "the body took too long"}
	case err != nil:
		return nil, badRequest("the body did not come whole")
	}
	return body, nil
}

// A countedBody reserves memory for a body of unknown size in steps, while it is
// read.
type countedBody struct {
	from   io.Reader
	memory *reservation
	left   int64 // bytes that are reserved and have not been read
}

// Read reads at most what is reserved.
func (b *countedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		if !b.memory.take(bodyStep) {
			return 0, errNoMemory
		}
		b.left = bodyStep
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A countedAnswer counts the bytes of an answer until the client has taken them.
type countedAnswer struct {
	http.ResponseWriter
	budget *budget.Budget
}

// Write sends a complete answer.
func (a countedAnswer) Write(p []byte) (int, error) {
	a.budget.Add(budget.HTTP, int64(len(p)))
	defer a.budget.Add(budget.HTTP, -int64(len(p)))
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a countedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
