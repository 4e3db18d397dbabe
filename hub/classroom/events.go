package classroom

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub"
)

// AppendEvent appends an event as a JSON object in a text frame.
func (*Dialect) AppendEvent(b []byte, e hub.Event) []byte {
	if e, ok := e.(hub.Joined); ok {
		var text [256]byte // a whole hall may join within a second
		return frame.AppendFrame(b, ws.OpText, appendJoined(text[:0], e))
	}
	text := eventText(e)
	if text == nil {
		return b
	}
	return frame.AppendFrame(b, ws.OpText, text)
}

func eventText(e hub.Event) []byte {
	switch e := e.(type) {
	case hub.Refused:
		return errorText(e.Refusal)
	case hub.Joined:
		return appendJoined(nil, e)
	case hub.Created:
		return []byte(`{"type":"created","code":"` + e.Code + `","token":"` + e.Token + `","epoch":"` + e.Epoch + `"}`)
	case hub.Resumed:
		return fmt.Appendf(nil, `{"type":"created","code":"%s","token":"%s","epoch":"%s","resumed":true,"seq":%d,"sent":%d}`,
			e.Code, e.Token, e.Epoch, e.Seq, e.Sent)
	case hub.BecameHost:
		return []byte(`{"type":"host","code":"` + e.Code + `","token":"` + e.Token + `","epoch":"` + e.Epoch + `"}`)
	case hub.HostChanged:
		return fmt.Appendf(nil, `{"type":"host_changed","id":%d}`, e.ID)
	case hub.HostLeft:
		return fmt.Appendf(nil, `{"type":"host_left","grace_ms":%d}`, e.Grace.Milliseconds())
	case hub.HostBack:
		return []byte(`{"type":"host_back"}`)
	case hub.Closed:
		if e.Why == hub.ReasonShutdown {
			return fmt.Appendf(nil, `{"type":"closed","reason":"%s","retry_ms":%d}`, e.Why, e.Retry.Milliseconds())
		}
		return []byte(`{"type":"closed","reason":"` + e.Why.String() + `"}`)
	case hub.Left:
		return []byte(`{"type":"left"}`)
	case hub.Kicked:
		return fmt.Appendf(nil, `{"type":"kicked","id":%d}`, e.ID)
	case hub.Skipped:
		return fmt.Appendf(nil, `{"type":"skipped","messages":%d,"seq":%d}`, e.Messages, e.Seq)
	case hub.ViewerCount:
		return fmt.Appendf(nil, `{"type":"viewers","viewers":%d}`, e.Viewers)
	case hub.Presence:
		return presence(e)
	case hub.List:
		return listed(e)
	case hub.HistoryRequest:
		return []byte(`{"type":"history_request"}`)
	case hub.Direct:
		return direct(e)
	case hub.Pong:
		if len(e.Data) == 0 {
			return []byte(`{"type":"pong"}`)
		}
		return append(append([]byte(`{"type":"pong","data":`), e.Data...), '}')
	}
	return nil
}

// appendJoined appends what tells a viewer that it has joined, and the token with
// which it can come back.
func appendJoined(b []byte, e hub.Joined) []byte {
	b = append(b, `{"type":"joined","code":"`...)
	b = e.Room.AppendCode(b)
	b = append(b, `","id":`...)
	b = strconv.AppendUint(b, uint64(e.ID), 10)
	b = append(b, `,"token":"`...)
	b = e.Room.AppendViewerToken(b, e.ID)
	b = append(b, `","epoch":"`...)
	b = append(b, e.Room.Epoch()...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"viewers":`...)
	b = strconv.AppendInt(b, int64(e.Viewers), 10)
	b = append(b, `,"host":`...)
	b = strconv.AppendBool(b, e.Host)
	if e.Back {
		b = append(b, `,"recovered":`...)
		b = strconv.AppendBool(b, e.Recovered)
		if e.Parted {
			b = append(b, `,"common":`...)
			b = strconv.AppendUint(b, e.Common, 10)
		}
	}
	return append(b, '}')
}

// direct tells a receiver who sent a message, and its data.
func direct(e hub.Direct) []byte {
	b := append(make([]byte, 0, len(e.Data)+64), `{"type":"message","from":`...)
	if e.From == 0 {
		b = append(b, `"host"`...)
	} else {
		b = strconv.AppendUint(b, uint64(e.From), 10)
	}
	b = append(append(b, `,"data":`...), e.Data...)
	return append(b, '}')
}

// A person is what others are told of a viewer.
type person struct {
	ID   uint32 `json:"id"`
	Name string `json:"name,omitempty"`
}

func people(all []hub.Person) []person {
	people := make([]person, len(all))
	for i, p := range all {
		people[i] = person(p)
	}
	return people
}

func presence(e hub.Presence) []byte {
	left := e.Left
	if left == nil {
		left = []uint32{}
	}
	return encode(struct {
		Type      string   `json:"type"`
		Joined    []person `json:"joined"`
		Left      []uint32 `json:"left"`
		Viewers   int      `json:"viewers"`
		Truncated bool     `json:"truncated,omitempty"`
	}{"presence", people(e.Joined), left, e.Viewers, e.Truncated})
}

func listed(e hub.List) []byte {
	return encode(struct {
		Type    string   `json:"type"`
		Viewers []person `json:"viewers"`
		Total   int      `json:"total"`
	}{"list", people(e.Viewers), e.Total})
}

// encode marshals an event that the relay itself has made.
func encode(event any) []byte {
	text, err := json.Marshal(event)
	if err != nil {
		panic(err) // events hold nothing but strings, numbers and valid JSON
	}
	return text
}
