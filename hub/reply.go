package hub

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// A fault is a message that was not accepted. The connection stays open.
type fault struct {
	code    string          // one of those in PROTOCOL.md
	message string          // one English sentence
	re      string          // the type that it answers, if that is known
	ref     json.RawMessage // the message's own, if it has one
	retry   time.Duration   // after which the same may be tried again, if it is known
	end     Reason          // why the connection ends after it; ReasonLost if it does not

	sleeps bool // nothing is wrong: the message has to wait for the room, which sleeps
	room   code
}

// Errors returns the codes of all faults, so that each can have its count from
// the start.
func Errors() []string {
	return []string{
		"too_large", "bad_message", "bad_json", "unknown_type", "not_in_room", "already_in_room", "not_host", "is_host",
		"host_away", "secret_required", "wrong_secret", "bad_token", "create_forbidden", "too_many_attempts", "room_full",
		"no_such_viewer", "room_not_found", "not_ready", "too_many_rooms", "too_fast", "busy", "history_unavailable", "server_full",
		"too_many_errors",
	}
}

// The faults that several rules share.

func roomNotFound() *fault {
	return &fault{code: "room_not_found", message: "there is no open room with this code"}
}

func notReady() *fault {
	return &fault{code: "not_ready", message: "the relay cannot read this room from its disk now; try again later"}
}

func badToken() *fault {
	return &fault{code: "bad_token", message: "this token is not valid in this room, or no longer"}
}

func notHost() *fault {
	return &fault{code: "not_host", message: "only the host of a room may do this"}
}

func seqIsTheRelays() *fault {
	return &fault{code: "bad_message", message: `"seq" is for the relay to set`}
}

func noSuchViewer(id uint32) *fault {
	return &fault{code: "no_such_viewer", message: fmt.Sprintf("no viewer in this room has the id %d", id)}
}

// tooManyAttempts asks for patience, of each client for another: at least for so
// long, and at most for a second or a tenth more.
func tooManyAttempts(wait time.Duration) *fault {
	wait = max(wait, time.Millisecond)
	return &fault{
		code: "too_many_attempts", message: "too many wrong guesses from this address; this one was not looked at, try again later",
		retry: wait + rand.N(max(time.Second, wait/10)),
	}
}

// maxRe is how many bytes of a type an error repeats.
const maxRe = 64

// report tells the session about a fault. It may overtake broadcasts. When there
// were too many the fault is only counted.
func (s *Session) report(f *fault) {
	if !s.tellsError() {
		return
	}
	s.shard.hub.Refused(f.code, s.address())
	s.pushUrgent(errorText(f))
}

// errorText is what a client is told of a fault.
func errorText(f *fault) []byte {
	re := f.re
	if len(re) > maxRe {
		re = ""
	}
	return encode(struct {
		Type    string          `json:"type"`
		Error   string          `json:"error"`
		Message string          `json:"message"`
		Re      string          `json:"re,omitempty"`
		Ref     json.RawMessage `json:"ref,omitempty"`
		Retry   int64           `json:"retry_ms,omitempty"`
	}{"error", f.code, f.message, re, f.ref, f.retry.Milliseconds()})
}

// encode marshals an event of the relay's own.
func encode(event any) []byte {
	text, err := json.Marshal(event)
	if err != nil {
		panic(err) // they hold nothing but strings, numbers and valid JSON
	}
	return text
}

// created tells a host its room, and what it needs to come back.
func created(r *Room, token string) []byte {
	return []byte(`{"type":"created","code":"` + r.code.String() + `","token":"` + token + `","epoch":"` + r.epoch + `"}`)
}

// resumed tells a host that has come back what the relay has of it. The token is
// the one that it gave.
func resumed(r *Room, token string, back resumption) []byte {
	text := created(r, token)
	return fmt.Appendf(text[:len(text)-1], `,"resumed":true,"seq":%d,"sent":%d}`, back.seq, back.sent)
}

// joined tells a viewer that it is in, and what it needs to come back.
func joined(r *Room, id uint32, w welcome) []byte {
	b := make([]byte, 0, 224) // not fmt: a hall joins within a second
	b = append(b, `{"type":"joined","code":"`...)
	b = r.code.appendText(b)
	b = append(b, `","id":`...)
	b = strconv.AppendUint(b, uint64(id), 10)
	b = append(b, `,"token":"`...)
	b = r.appendViewerToken(b, id)
	b = append(b, `","epoch":"`...)
	b = append(b, r.epoch...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, w.seq, 10)
	b = append(b, `,"viewers":`...)
	b = strconv.AppendInt(b, int64(w.viewers), 10)
	b = append(b, `,"host":`...)
	b = strconv.AppendBool(b, w.host)
	return append(b, '}')
}

// rejoined is joined for a viewer that has come back, and says whether it gets
// all that it has missed, and up to where it has what others have.
func rejoined(joined []byte, w welcome) []byte {
	text := fmt.Appendf(joined[:len(joined)-1], `,"recovered":%t`, w.recovered)
	if w.parted {
		text = fmt.Appendf(text, `,"common":%d`, w.common)
	}
	return append(text, '}')
}

// nowHost tells a viewer that it has become the host.
func nowHost(r *Room, token hostToken) []byte {
	return []byte(`{"type":"host","code":"` + r.code.String() + `","token":"` + token.String() + `","epoch":"` + r.epoch + `"}`)
}

func hostChanged(id uint32) []byte {
	return fmt.Appendf(nil, `{"type":"host_changed","id":%d}`, id)
}

func hostLeft(grace time.Duration) []byte {
	return fmt.Appendf(nil, `{"type":"host_left","grace_ms":%d}`, grace.Milliseconds())
}

func skipped(messages, seq uint64) []byte {
	return fmt.Appendf(nil, `{"type":"skipped","messages":%d,"seq":%d}`, messages, seq)
}

func kicked(id uint32) []byte { return fmt.Appendf(nil, `{"type":"kicked","id":%d}`, id) }

// directFrom is a message as the other side gets it; from is "host" in JSON, or an
// id.
func directFrom(from string, data json.RawMessage) []byte {
	b := append([]byte(`{"type":"message","from":`), from...)
	b = append(append(b, `,"data":`...), data...)
	return append(b, '}')
}

// viewerFrom is a viewer's id as directFrom wants it.
func viewerFrom(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// presenceEvent tells who came and went; cut that there were more.
func presenceEvent(joined []person, left []uint32, viewers int, cut bool) []byte {
	if joined == nil {
		joined = []person{}
	}
	if left == nil {
		left = []uint32{}
	}
	return encode(struct {
		Type      string   `json:"type"`
		Joined    []person `json:"joined"`
		Left      []uint32 `json:"left"`
		Viewers   int      `json:"viewers"`
		Truncated bool     `json:"truncated,omitempty"`
	}{"presence", joined, left, viewers, cut})
}

func listOf(page []person, total int) []byte {
	return encode(struct {
		Type    string   `json:"type"`
		Viewers []person `json:"viewers"`
		Total   int      `json:"total"`
	}{"list", page, total})
}
