package httpapi

import (
	"crypto/sha256"
	"net/http"
)

// maxIdempotencyKey bounds an Idempotency-Key, in bytes.
const maxIdempotencyKey = 255

// broadcast relays a message from outside to a room. For an Idempotency-Key that it
// has seen before it repeats the answer instead.
func (a *api) broadcast(c call) (status int, data any, err error) {
	message, given := c.fields["data"]
	if !given {
		return 0, nil, badRequest("data is missing")
	}
	key, given, err := idempotencyKey(c.Header)
	if err != nil {
		return 0, nil, err
	}
	speak := func() (uint64, error) { return a.hub.Broadcast(c.code(), message) }
	var answer struct {
		Seq uint64 `json:"seq"`
	}
	if !given {
		answer.Seq, err = speak()
		return http.StatusOK, answer, err
	}
	var again bool
	what := keyedRequest{sha256.Sum256([]byte(c.code() + "/" + key)), sha256.Sum256(c.body)} // no code has a slash
	answer.Seq, again, err = a.kept.once(c.Context(), what, speak)
	if again {
		c.header.Set("Idempotent-Replayed", "true")
	}
	return http.StatusOK, answer, err
}

// idempotencyKey returns the Idempotency-Key of a request, if it has one.
func idempotencyKey(h http.Header) (key string, given bool, err error) {
	lines := h.Values("Idempotency-Key")
	switch {
	case len(lines) == 0:
		return "", false, nil
	case len(lines) > 1:
		return "", true, badRequest("Idempotency-Key is there more than once")
	case lines[0] == "" || len(lines[0]) > maxIdempotencyKey:
		return "", true, wrong("Idempotency-Key", "from 1 to 255 bytes")
	}
	return lines[0], true, nil
}
