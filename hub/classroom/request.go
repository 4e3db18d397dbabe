package classroom

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"lectern/hub"
	"lectern/hub/strictjson"
)

// A request is a message of the classroom protocol, parsed. It is valid until
// the same parser reads the next one.
type request struct {
	kind   string
	ref    json.RawMessage // the message's own, which answers to it repeat; nil for none
	text   []byte
	parser *parser
}

// tag returns what an answer to the message repeats. It is valid as long as the
// message.
func (r request) tag() hub.Tag { return hub.Tag{Type: r.kind, Ref: r.ref} }

// A parser reads messages. It keeps where their fields are, and no more than
// that: what it allocates does not grow with the message.
type parser struct {
	values [len(names)]json.RawMessage // of the fields with those names; nil for those that are not there
	json   fastjson.Parser             // for one field at a time
}

// names are the fields that the protocol knows. All others are of no interest
// here.
var names = [...]string{
	"type", "data", "seq", "ref",
	"code", "token", "secret", "key", "name", "epoch", "numbered", "history",
	"max_viewers", "slow", "roster", "to", "id", "after", "limit", "commands",
}

// maxName is the length in bytes of the longest of the names, in its longest
// form: every letter as an escape of six bytes.
const maxName = 6 * len("max_viewers")

// once are the fields that may not be there twice, by their places in names:
// clients would disagree about which one counts.
const once = 3

// maxRef is how many bytes of JSON a message's ref may have.
const maxRef = 64

// parse reads a message. What it accepts is valid JSON by the strict grammar,
// because what is relayed goes to JSON.parse in every viewer.
func (p *parser) parse(payload []byte) (request, *hub.Refusal) {
	object, ok := strictjson.NewObject(payload)
	if !ok {
		if err := strictjson.Check(payload); err != nil {
			return request{}, badJSON(err)
		}
		return request{}, badMessage("a message must be a JSON object")
	}
	twice := ""
	var err error
	for m := range object.Members(&err) {
		i := indexOf(m.Name)
		if i < 0 {
			continue
		}
		if p.values[i] == nil {
			p.values[i] = m.Value
		} else if i < once && twice == "" {
			twice = names[i]
		}
	}
	if err != nil {
		return request{}, badJSON(err)
	}
	r := request{text: payload, parser: p}
	if ref := p.values[slices.Index(names[:], "ref")]; len(ref) <= maxRef {
		r.ref = ref
	}
	kind, f := r.str("type")
	if f == nil {
		r.kind = kind
		if twice != "" {
			f = r.bad(fmt.Sprintf("%q is there more than once", twice))
		}
	}
	if f != nil {
		f.Tag.Ref = r.ref
		return request{}, f
	}
	return r, nil
}

// forget gives up the message, which another may follow then.
func (p *parser) forget() { p.values = [len(names)]json.RawMessage{} }

// indexOf returns the place of a member's name in names, -1 if it is not among
// them. The name is as it stands between the quotes.
func indexOf(name []byte) int {
	if len(name) > maxName {
		return -1
	}
	if slices.Contains(name, '\\') {
		var plain string
		if json.Unmarshal([]byte(`"`+string(name)+`"`), &plain) != nil {
			return -1
		}
		return slices.Index(names[:], plain)
	}
	for i := range names {
		if string(name) == names[i] {
			return i
		}
	}
	return -1
}

// badJSON says what is wrong with a text that is not JSON, and where.
func badJSON(err error) *hub.Refusal {
	if errors.Is(err, strictjson.DepthError{}) {
		return &hub.Refusal{Kind: hub.BadJSON, Text: "the message is " + err.Error()}
	}
	return &hub.Refusal{Kind: hub.BadJSON, Text: "not valid JSON: " + err.Error()}
}

// value returns a field as it was sent, nil if it is not there.
func (r request) value(name string) json.RawMessage {
	return r.parser.values[slices.Index(names[:], name)]
}

// has reports whether the field is there, whatever it is.
func (r request) has(name string) bool { return r.value(name) != nil }

// given returns a field that may be left out, nil if it is. Null is as if it
// were left out.
func (r request) given(name string) json.RawMessage {
	v := r.value(name)
	if string(v) == "null" {
		return nil
	}
	return v
}

// str returns a field that must be there and be a string.
func (r request) str(name string) (string, *hub.Refusal) {
	v, f := r.field(name, fastjson.TypeString)
	if f != nil {
		return "", f
	}
	text, err := r.parser.json.ParseBytes(v)
	if err != nil { // it is a valid string
		return "", r.wrong(name, "a JSON string")
	}
	plain := string(text.GetStringBytes())
	if len(v) > maxParsed {
		r.parser.json = fastjson.Parser{}
	}
	return plain, nil
}

// maxParsed is the longest field, in bytes, whose fastjson parser is kept.
const maxParsed = 4 << 10

// optional returns a string that may be missing, and whether it is there.
func (r request) optional(name string) (text string, given bool, f *hub.Refusal) {
	if r.given(name) == nil {
		return "", false, nil
	}
	text, f = r.str(name)
	return text, true, f
}

// label returns a string that may be missing and else has at most limit
// characters.
func (r request) label(name string, limit int) (string, *hub.Refusal) {
	text, _, f := r.optional(name)
	if f == nil && utf8.RuneCountInString(text) > limit {
		return "", r.wrong(name, fmt.Sprintf("at most %d characters", limit))
	}
	return text, f
}

// flag returns a field that may be missing and else must be true or false.
func (r request) flag(name string) (bool, *hub.Refusal) {
	switch string(r.given(name)) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, r.wrong(name, "true or false")
}

// number returns a whole number from low to high that may be missing, and
// then is standard.
func (r request) number(name string, low, high, standard int) (int, *hub.Refusal) {
	v := r.given(name)
	if v == nil {
		return standard, nil
	}
	n := 0
	if typeOf(v) != fastjson.TypeNumber {
		return 0, r.wrong(name, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	value, err := r.parser.json.ParseBytes(v)
	if err == nil {
		n, err = value.Int()
	}
	if err != nil || n < low || n > high {
		return 0, r.wrong(name, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return n, nil
}

// id returns the number of a viewer, which must be there.
func (r request) id(name string) (uint32, *hub.Refusal) {
	if _, f := r.field(name, fastjson.TypeNumber); f != nil {
		return 0, f
	}
	n, f := r.number(name, 1, math.MaxUint32, 0)
	return uint32(n), f
}

// oneOf returns a string that may be missing and else must be one of those
// allowed; the first of them is the default.
func (r request) oneOf(name string, allowed ...string) (string, *hub.Refusal) {
	text, given, f := r.optional(name)
	switch {
	case f != nil:
		return "", f
	case !given:
		return allowed[0], nil
	case !slices.Contains(allowed, text):
		return "", r.wrong(name, `"`+strings.Join(allowed, `" or "`)+`"`)
	}
	return text, nil
}

// list checks a field that must be there and be an array.
func (r request) list(name string) *hub.Refusal {
	_, f := r.field(name, fastjson.TypeArray)
	return f
}

// raw returns a field of any type as it was sent. It must be there.
func (r request) raw(name string) (json.RawMessage, *hub.Refusal) {
	v := r.value(name)
	if v == nil {
		return nil, r.missing(name)
	}
	return v, nil
}

// field returns a field that must be there and have the type.
func (r request) field(name string, want fastjson.Type) (json.RawMessage, *hub.Refusal) {
	v := r.value(name)
	if v == nil {
		return nil, r.missing(name)
	}
	if typeOf(v) != want {
		return nil, r.wrong(name, "a JSON "+want.String())
	}
	return v, nil
}

// typeOf returns the type of a valid JSON value, which its first byte tells.
func typeOf(v json.RawMessage) fastjson.Type {
	switch v[0] {
	case '{':
		return fastjson.TypeObject
	case '[':
		return fastjson.TypeArray
	case '"':
		return fastjson.TypeString
	case 't':
		return fastjson.TypeTrue
	case 'f':
		return fastjson.TypeFalse
	case 'n':
		return fastjson.TypeNull
	}
	return fastjson.TypeNumber
}

func (r request) missing(name string) *hub.Refusal {
	return r.bad(fmt.Sprintf("%q is missing", name))
}

func (r request) wrong(name, want string) *hub.Refusal {
	return r.bad(fmt.Sprintf("%q must be %s", name, want))
}

// bad refuses the message for its form.
func (r request) bad(text string) *hub.Refusal {
	f := badMessage(text)
	f.Tag.Type = r.kind
	return f
}

func badMessage(text string) *hub.Refusal { return &hub.Refusal{Kind: hub.BadMessage, Text: text} }
