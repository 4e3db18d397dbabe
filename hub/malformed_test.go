package hub

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A kind is what a field must be.
type kind string

const (
	aString kind = "string"
	aBool   kind = "bool"
	aNumber kind = "number"
	anArray kind = "array"
)

// oddities are what a field is filled with.
var oddities = []struct {
	is   kind
	text string
}{
	{"null", `null`},
	{aBool, `true`}, {aBool, `false`},
	{aNumber, `0`}, {aNumber, `-1`}, {aNumber, `1.5`}, {aNumber, `1.0`}, {aNumber, `1e2`}, {aNumber, `1e400`}, {aNumber, `-9223372036854775809`},
	{aNumber, `4294967295`}, {aNumber, `4294967296`}, {aNumber, `18446744073709551617`}, {aNumber, strings.Repeat("9", 5000)},
	{aString, `""`}, {aString, `"x"`}, {aString, `"\u0000"`}, {aString, `"😀"`}, {aString, `"\ud83d"`}, {aString, "\"\u202eمرحبا\""}, {aString, `"1"`}, {aString, `"true"`},
	{aString, `"` + strings.Repeat("x", 10_000) + `"`},
	{anArray, `[]`}, {anArray, `[1]`}, {anArray, strings.Repeat("[", 250) + strings.Repeat("]", 250)},
	{"object", `{}`}, {"object", strings.Repeat(`{"a":`, 250) + "1" + strings.Repeat("}", 250)},
}

// whole returns what a number field must answer: the error other when it is a
// whole number from low to high, else bad_message.
func whole(low, high int, other string) func(string) string {
	return func(text string) string {
		if n, err := strconv.Atoi(text); err != nil || n < low || n > high {
			return "bad_message"
		}
		return other
	}
}

// always is for a field whose values of the right kind are all answered alike;
// empty for those that are no mistake.
func always(code string) func(string) string { return func(string) string { return code } }

// TestMalformedEverything fills every field of every message with every
// oddity, leaves it out, and checks the documented error; the connection
// stays, and nobody else hears anything.
func TestMalformedEverything(t *testing.T) {
	const maxName = 64
	name := func(text string) string {
		if len([]rune(text))-2 > maxName {
			return "bad_message"
		}
		return ""
	}
	notEmpty := func(text string) string {
		if text == `""` {
			return "bad_message"
		}
		return ""
	}
	type field struct {
		who, message string // the message has the field as FIELD, with a comma before it
		name         string
		kind         kind
		missing      string // the error without the field; empty if it may be missing
		right        func(text string) string
	}
	const bad = "bad_message"
	fields := []field{
		{"nobody", `{"type":"create"FIELD}`, "key", aString, "", always("")},
		{"nobody", `{"type":"create"FIELD}`, "secret", aString, "", notEmpty},
		{"nobody", `{"type":"create"FIELD}`, "name", aString, "", name},
		{"nobody", `{"type":"create"FIELD}`, "max_viewers", aNumber, "", whole(1, 20_000, "")},
		{"nobody", `{"type":"create"FIELD}`, "history", aString, "", always(bad)},
		{"nobody", `{"type":"create"FIELD}`, "slow", aString, "", always(bad)},
		{"nobody", `{"type":"create"FIELD}`, "roster", aBool, "", always("")},
		{"nobody", `{"type":"resume","token":"TOKEN"FIELD}`, "code", aString, bad, always("room_not_found")},
		{"nobody", `{"type":"resume","code":"CODE"FIELD}`, "token", aString, bad, always("bad_token")},
		{"nobody", `{"type":"join"FIELD}`, "code", aString, bad, always("room_not_found")},
		{"nobody", `{"type":"join","code":"CODE"FIELD}`, "secret", aString, "secret_required", always("wrong_secret")},
		{"nobody", `{"type":"join","code":"CODE","secret":"s"FIELD}`, "name", aString, "", name},
		{"nobody", `{"type":"join","code":"CODE","secret":"s"FIELD}`, "numbered", aBool, "", always("")},
		{"nobody", `{"type":"join","code":"CODE","secret":"s"FIELD}`, "history", aBool, "", always("")},
		{"nobody", `{"type":"join","code":"CODE"FIELD}`, "token", aString, "secret_required", always("bad_token")},
		{"nobody", `{"type":"join","code":"CODE","secret":"s"FIELD}`, "epoch", aString, "", always("")},
		{"host", `{"type":"command"FIELD}`, "data", "", bad, nil},
		{"host", `{"type":"activate"FIELD}`, "data", "", bad, nil},
		{"host", `{"type":"broadcast"FIELD}`, "data", "", bad, nil},
		{"host", `{"type":"message","to":1FIELD}`, "data", "", bad, nil},
		{"viewer", `{"type":"message"FIELD}`, "data", "", bad, nil},
		{"host", `{"type":"message","data":1FIELD}`, "to", aNumber, bad, whole(1, math.MaxUint32, "no_such_viewer")},
		{"host", `{"type":"history"FIELD}`, "commands", anArray, bad, always("")},
		{"host", `{"type":"list"FIELD}`, "after", aNumber, "", whole(0, math.MaxUint32-1, "")},
		{"host", `{"type":"list"FIELD}`, "limit", aNumber, "", whole(1, MaxPage, "")},
		{"host", `{"type":"kick"FIELD}`, "id", aNumber, bad, whole(1, math.MaxUint32, "no_such_viewer")},
		{"host", `{"type":"grant_host"FIELD}`, "id", aNumber, bad, whole(1, math.MaxUint32, "no_such_viewer")},
	}
	for _, kind := range []string{"command", "activate", "broadcast"} {
		// It is for the relay to set, whatever it is.
		fields = append(fields, field{"host", `{"type":"` + kind + `","data":1FIELD}`, "seq", "none", "", nil})
	}
	for _, who := range []string{"nobody", "host", "viewer"} {
		fields = append(fields, field{who, `{"data":1FIELD}`, "type", aString, bad, always("unknown_type")})
	}

	r := newTestRelay(t, 3, Config{ViewerRate: 1 << 30})
	host, room := r.opens(0, `,"secret":"s"`)
	viewer, _ := r.enters(1, room.Code, `,"secret":"s"`)
	peers := map[string]*peer{"host": host, "viewer": viewer, "nobody": r.dial(2)}
	tried := 0
	try := func(f field, what, value, want string) {
		t.Helper()
		text := strings.NewReplacer("FIELD", value, "CODE", room.Code, "TOKEN", room.Token).Replace(f.message)
		tried++
		if f.who == "nobody" { // wrong guesses have a test of their own
			peers["nobody"].reset()
			peers["nobody"] = r.dialFrom(2, netip.AddrFrom4([4]byte{10, 0, byte(tried >> 8), byte(tried)}))
		}
		for _, w := range r.workers {
			w.now += second // errors have a rate, which is another test
		}
		speaker := peers[f.who]
		speaker.say(text)
		r.run()
		got := speaker.frames()
		begin := fmt.Sprintf(`{"type":"error","error":"%s","message":"`, want)
		if len(got) != 1 || !strings.HasPrefix(got[0], begin) {
			t.Errorf("%s of a %s: %.300s was answered with %.300q, want %s", what, f.who, text, got, want)
		} else if want == bad && !strings.Contains(got[0], `\"`+f.name+`\"`) {
			t.Errorf("%.300s was answered with %s, which does not name %q", text, got[0], f.name)
		}
	}
	for _, f := range fields {
		if f.missing != "" {
			try(f, "missing "+f.name, "", f.missing)
		}
		if f.kind == "" {
			continue // it may be anything
		}
		for _, odd := range oddities {
			value := fmt.Sprintf(`,"%s":%s`, f.name, odd.text)
			want := bad
			switch {
			case odd.is == f.kind:
				want = f.right(odd.text)
			case odd.text == "null" && f.kind != "none": // as if it were left out
				want = f.missing
			}
			if want != "" {
				try(f, f.name, value, want)
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d cases", tried)
	}
	// All are where they were, and have heard nothing but their answers.
	host.say(`{"type":"command","data":"next"}`)
	viewer.hears(`{"type":"command","data":"next"}`)
	host.lists(1)
	peers["nobody"].gets("created", `{"type":"create"}`)
	checkCounts(t, r, 2, 1, 3)
}

// TestDataMayBeAnything goes through the oddities as what is relayed.
func TestDataMayBeAnything(t *testing.T) {
	c := newSchool(t, Config{ViewerRate: 1000, MaxViewerMessage: 100_000})
	for _, odd := range oddities {
		text := fmt.Sprintf(`{"type":"broadcast","data":%s}`, odd.text)
		c.host.say(text)
		c.host.say(fmt.Sprintf(`{"type":"message","to":1,"data":%s}`, odd.text))
		c.viewers[0].hears(text, fmt.Sprintf(`{"type":"message","from":"host","data":%s}`, odd.text))
		c.viewers[1].hears(text)
		c.viewers[2].say(fmt.Sprintf(`{"type":"message","data":%s}`, odd.text))
		c.viewers[2].hears(text)
		c.host.hears(fmt.Sprintf(`{"type":"message","from":3,"data":%s}`, odd.text))
		c.host.say(fmt.Sprintf(`{"type":"ping","data":%s}`, odd.text))
		c.host.hears(fmt.Sprintf(`{"type":"pong","data":%s}`, odd.text))
	}
}

// TestNamesAreToldAsTheyWereGiven, whatever is in them, to the limit.
func TestNamesAreToldAsTheyWereGiven(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxName: 10})
	host, room := r.opens(0, `,"name":"0123456789"`)
	r.dial(0).fails("bad_message", `{"type":"create","name":"0123456789x"}`)
	names := []string{"Ada", "\x00", "a\"b\\c", "</script>", "😀😀😀😀😀😀😀😀😀😀", "\u202eمرحبا", "e\u0301", "\u2028\u2029", "\ufeff", strings.Repeat("ü", 10)}
	for i, name := range names {
		_, me := r.enters(0, room.Code, `,"name":`+quoted(t, name))
		if me.ID != i+1 {
			t.Errorf("joined as %s", me.text)
		}
	}
	r.fresh(host)
	var got []string
	for _, v := range host.gets("list", `{"type":"list"}`).persons() {
		got = append(got, v.Name)
	}
	if !slices.Equal(got, names) {
		t.Errorf("the list tells %q, want %q", got, names)
	}
	for _, name := range []string{strings.Repeat("x", 11), strings.Repeat("😀", 11), strings.Repeat("ü", 5000)} {
		r.dial(0).fails("bad_message", `{"type":"join","code":"%s","name":"%s"}`, room.Code, name)
	}
	info, _ := r.hub.Room(room.Code)
	if info.Name != "0123456789" || info.Viewers != len(names) {
		t.Errorf("the room is %+v", info)
	}
}

// quoted returns a text as a JSON string.
func quoted(t *testing.T, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
