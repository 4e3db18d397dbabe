package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"lectern/hub"
)

// A problem is the reason why a request fails, with its status.
type problem struct {
	status  int
	message string
}

func (p *problem) Error() string { return p.message }

// errBusy answers a request that has waited too long for its place.
var errBusy = &problem{http.StatusServiceUnavailable, "too many requests are under way; try again"}

// refusalCauses are the problems that are counted as refusals, with their causes.
var refusalCauses = map[*problem]string{
	errBusy:        "http_busy",
	errNoMemory:    "memory",
	errKeptFull:    "http_busy",
	errWrongKey:    "wrong_api_key",
	errTooManyKeys: "too_many_keys",
}

// badRequest returns the problem of a malformed request.
func badRequest(format string, args ...any) *problem {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// statuses map the errors of the hub to HTTP.
var statuses = []struct {
	err    error
	status int
}{
	{hub.ErrRoomNotFound, http.StatusNotFound},
	{hub.ErrHostSpeaks, http.StatusConflict},
	{hub.ErrMessageTooBig, http.StatusRequestEntityTooLarge},
	{hub.ErrTooManyRooms, http.StatusServiceUnavailable},
	{hub.ErrShuttingDown, http.StatusServiceUnavailable},
	{context.Canceled, http.StatusServiceUnavailable}, // nobody is left to read it
	{context.DeadlineExceeded, http.StatusServiceUnavailable},
}

// problemOf returns the answer to an error.
func problemOf(err error) *problem {
	var p *problem
	var f *hub.FieldError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &f):
		return badRequest("%v", f)
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return &problem{s.status, err.Error()}
		}
	}
	return &problem{http.StatusInternalServerError, failed}
}

// failed is the message of a 500: the client can do nothing about it.
const failed = "the relay failed to do this"

// refuse answers with a problem and the headers of its status.
func refuse(w http.ResponseWriter, p *problem) { refuseAs(w, p, "") }

// refuseAs is refuse with the error's name in the protocol, empty for none.
func refuseAs(w http.ResponseWriter, p *problem, name string) {
	switch p.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="lectern"`) // RFC 6750 3
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", retryKeys)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryBusy)
	case http.StatusUnsupportedMediaType:
		w.Header().Set("Accept-Post", "application/json")
	}
	writeEnvelope(w, envelope{Code: p.status, Error: name, Message: p.message})
}

// answer answers with data for success, or with a message for a failure.
func answer(w http.ResponseWriter, status int, message string, data any) {
	writeEnvelope(w, envelope{Code: status, Message: message, Data: data})
}

// An envelope is the body of every answer in JSON.
type envelope struct {
	Code    int    `json:"code"`            // the HTTP status
	Error   string `json:"error,omitempty"` // the error's name in the protocol
	Message string `json:"message,omitempty"`
	Data    any    `json:"data,omitempty"`
}

// writeEnvelope sends an answer in its envelope.
func writeEnvelope(w http.ResponseWriter, e envelope) {
	text, err := json.Marshal(e)
	if err != nil { // cannot happen: our own types can be encoded
		e.Code, text = http.StatusInternalServerError, []byte(`{"code":500,"message":"`+failed+`"}`)
	}
	write(w, e.Code, append(text, '\n'))
}

// write sends a complete answer in JSON.
func write(w http.ResponseWriter, status int, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text))) // for HEAD, too
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
