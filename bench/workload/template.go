package workload

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lectern/bench/stamp"
)

// A Template is what a server wants to hear. In its texts {room} stands for
// the room, {viewer} for the viewer's number and {payload} for the stamped
// payload. Every field may be empty.
type Template struct {
	Name        string `json:"name,omitempty"`
	Subprotocol string `json:"subprotocol,omitempty"` // offered in the handshake

	Open   string `json:"open,omitempty"`   // the host's first message
	Opened string `json:"opened,omitempty"` // regular expression of the answer; its first group is the room. Empty: none is awaited

	Join    string `json:"join,omitempty"`    // a viewer's first message
	Joined  string `json:"joined,omitempty"`  // a part of the answer that says yes. Empty: a connected viewer has joined
	Refused string `json:"refused,omitempty"` // a part of an answer that says no, to viewers and hosts

	Publish  string `json:"publish"`            // a host's message, with {payload} once
	Verbatim bool   `json:"verbatim,omitempty"` // viewers get the very bytes that were published
	Finish   string `json:"finish,omitempty"`   // the host's last message

	Ping string `json:"ping,omitempty"` // a message of the server's that must be answered,
	Pong string `json:"pong,omitempty"` // and the answer
}

// PayloadMark stands for the payload in a message's template.
const PayloadMark = "{payload}"

// presets are the templates that come with the program.
var presets = map[string]Template{
	"classroom": {
		Name:     "classroom",
		Open:     `{"type":"create"}`,
		Opened:   `"type":"created".*?"code":"([^"]+)"`,
		Join:     `{"type":"join","code":"{room}"}`,
		Joined:   `"type":"joined"`,
		Refused:  `"type":"error"`,
		Publish:  `{"type":"command","data":"{payload}"}`,
		Verbatim: true,
		Finish:   `{"type":"close"}`,
	},
	// One topic, or as many as the URL has {room}s: every text frame goes to
	// all others.
	"topic": {
		Name:     "topic",
		Publish:  PayloadMark,
		Verbatim: true,
	},
	"pubsub-json": {
		Name:    "pubsub-json",
		Join:    `{"type":"subscribe","topic":"{room}"}`,
		Joined:  `"subscribed"`,
		Refused: `"error"`,
		Publish: `{"type":"publish","topic":"{room}","data":"{payload}"}`,
	},
	"centrifuge": {
		Name:    "centrifuge",
		Open:    `{"id":1,"connect":{}}`,
		Opened:  `"id":1,"connect":`,
		Join:    `{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"{room}"}}`,
		Joined:  `"id":2,"subscribe"`,
		Refused: `"error":{`,
		Publish: `{"id":3,"publish":{"channel":"{room}","data":{"p":"{payload}"}}}`,
		Ping:    `{}`,
		Pong:    `{}`,
	},
}

// Preset returns the template of that name.
func Preset(name string) (Template, error) {
	t, ok := presets[name]
	if !ok {
		return t, Refuse("no preset %q: there are %s", name, strings.Join(PresetNames(), ", "))
	}
	return t, nil
}

// PresetNames returns the names that [Preset] knows, sorted.
func PresetNames() []string { return slices.Sorted(maps.Keys(presets)) }

func (t Template) check(o Options) error {
	if n := strings.Count(t.Publish, PayloadMark); n != 1 {
		return Refuse("the publish template %q has %d times %s: it takes one", t.Publish, n, PayloadMark)
	}
	if _, err := regexp.Compile(t.Opened); err != nil {
		return Refuse("the pattern of the opened answer: %v", err)
	}
	if o.Size > MaxSize {
		return Refuse("a message of %d bytes: at most %d", o.Size, MaxSize)
	}
	if least := t.minSize(); o.Size < least {
		return Refuse("a message of %d bytes is smaller than the envelope and the stamp: at least %d with %q", o.Size, least, t.Name)
	}
	if (t.Ping == "") != (t.Pong == "") {
		return Refuse("a ping template without a pong, or the other way round")
	}
	if o.Rooms > 1 && t.Opened == "" && !strings.Contains(o.URL+t.Join, "{room}") {
		return Refuse("%d rooms, but neither the URL nor the join template says {room}", o.Rooms)
	}
	return nil
}

// minSize returns the bytes of the smallest message, for a room name of six
// characters.
func (t Template) minSize() int {
	around := strings.Replace(Fill(t.Publish, "ROOM00", 0), PayloadMark, "", 1)
	return len(around) + stamp.Len
}

// Fill puts the room and the viewer's number into a text.
func Fill(text, room string, viewer int) string {
	text = strings.ReplaceAll(text, "{room}", room)
	return strings.ReplaceAll(text, "{viewer}", strconv.Itoa(viewer))
}
