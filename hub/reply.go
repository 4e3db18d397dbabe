package hub

import (
	"encoding/json"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// A fault is a message that was not accepted. The connection stays open.
type fault struct {
	code    string // one of protocol.md's
	message string // one English sentence
	re      string // the type that it answers, if that is known
}

// maxRe is how many bytes of a type an error repeats.
const maxRe = 64

// report tells the session about a fault. It may overtake broadcasts.
func (s *Session) report(f *fault) {
	re := f.re
	if len(re) > maxRe {
		re = ""
	}
	text, err := json.Marshal(struct {
		Type    string `json:"type"`
		Error   string `json:"error"`
		Message string `json:"message"`
		Re      string `json:"re,omitempty"`
	}{"error", f.code, f.message, re})
	if err != nil {
		panic(err) // four strings always marshal
	}
	s.push(private{frame: frame.AppendFrame(nil, ws.OpText, text), kind: urgent})
}

// withCode returns an event that carries a room's code.
func withCode(kind string, c code) []byte {
	return []byte(`{"type":"` + kind + `","code":"` + c.String() + `"}`)
}
