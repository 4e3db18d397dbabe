package hub

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

// maxDepth is how deep a message may be nested. It is fastjson's own limit.
const maxDepth = fastjson.MaxDepth

// maxParsed is the largest message, in bytes, whose parser is kept: a parser
// holds up to forty times as much.
const maxParsed = 64 << 10

// A request is a message of the classroom protocol, parsed. It is valid until
// the same parser reads the next one.
type request struct {
	kind   string
	fields *fastjson.Object
	text   []byte
}

// A parser reads messages.
type parser struct{ json fastjson.Parser }

// once are the fields that may not be there twice: clients would disagree
// about which one counts.
var once = [...]string{"type", "data", "seq"}

// parse reads a message. What it accepts is valid JSON by the strict grammar,
// because what is relayed goes to JSON.parse in every viewer.
func (p *parser) parse(payload []byte) (request, *fault) {
	if !json.Valid(payload) {
		return request{}, &fault{code: "bad_json", message: jsonProblem(payload)}
	}
	if len(payload) > maxParsed {
		defer func() { p.json = fastjson.Parser{} }()
	}
	value, err := p.json.ParseBytes(payload)
	if err != nil {
		// It is valid, so this can only be the depth.
		return request{}, &fault{code: "bad_json", message: fmt.Sprintf("the message is nested more than %d deep", maxDepth)}
	}
	fields, err := value.Object()
	if err != nil {
		return request{}, &fault{code: "bad_message", message: "a message must be a JSON object"}
	}
	r := request{fields: fields, text: payload}
	kind, f := r.str("type")
	if f != nil {
		return request{}, f
	}
	r.kind = kind
	var seen [len(once)]int
	fields.Visit(func(key []byte, _ *fastjson.Value) {
		for i, name := range once {
			if string(key) == name {
				seen[i]++
			}
		}
	})
	for i, name := range once {
		if seen[i] > 1 {
			return request{}, &fault{code: "bad_message", message: fmt.Sprintf("%q is there more than once", name), re: kind}
		}
	}
	return r, nil
}

// jsonProblem says what is wrong with a text that is not JSON, and where.
func jsonProblem(payload []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(payload, &v)
	if syntax, ok := err.(*json.SyntaxError); ok {
		return fmt.Sprintf("not valid JSON at byte %d: %v", syntax.Offset, syntax)
	}
	return "not valid JSON"
}

// has reports whether the field is there.
func (r request) has(name string) bool { return r.fields.Get(name) != nil }

// str returns a field that must be there and be a string.
func (r request) str(name string) (string, *fault) {
	v, f := r.field(name, fastjson.TypeString)
	if f != nil {
		return "", f
	}
	return string(v.GetStringBytes()), nil
}

// optional returns a string that may be missing, and whether it is there.
func (r request) optional(name string) (text string, given bool, f *fault) {
	if !r.has(name) {
		return "", false, nil
	}
	text, f = r.str(name)
	return text, true, f
}

// label returns a string that may be missing and else has at most limit
// characters.
func (r request) label(name string, limit int) (string, *fault) {
	text, _, f := r.optional(name)
	if f == nil && utf8.RuneCountInString(text) > limit {
		return "", r.wrong(name, fmt.Sprintf("at most %d characters", limit))
	}
	return text, f
}

// flag returns a field that may be missing and else must be true or false.
func (r request) flag(name string) (bool, *fault) {
	v := r.fields.Get(name)
	if v == nil {
		return false, nil
	}
	on, err := v.Bool()
	if err != nil {
		return false, r.wrong(name, "true or false")
	}
	return on, nil
}

// number returns a whole number from low to high that may be missing, and
// then is standard.
func (r request) number(name string, low, high, standard int) (int, *fault) {
	v := r.fields.Get(name)
	if v == nil {
		return standard, nil
	}
	n, err := v.Int()
	if err != nil || n < low || n > high {
		return 0, r.wrong(name, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return n, nil
}

// id returns the number of a viewer, which must be there.
func (r request) id(name string) (uint32, *fault) {
	if _, f := r.field(name, fastjson.TypeNumber); f != nil {
		return 0, f
	}
	n, f := r.number(name, 1, math.MaxUint32, 0)
	return uint32(n), f
}

// oneOf returns a string that may be missing and else must be one of those
// allowed; the first of them is the default.
func (r request) oneOf(name string, allowed ...string) (string, *fault) {
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
func (r request) list(name string) *fault {
	_, f := r.field(name, fastjson.TypeArray)
	return f
}

// raw returns a field of any type as it was sent. It must be there.
func (r request) raw(name string) (json.RawMessage, *fault) {
	if !r.has(name) {
		return nil, r.missing(name)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(r.text, &all); err != nil {
		return nil, &fault{code: "bad_json", message: jsonProblem(r.text), re: r.kind}
	}
	return all[name], nil
}

// field returns a field that must be there and have the type.
func (r request) field(name string, want fastjson.Type) (*fastjson.Value, *fault) {
	v := r.fields.Get(name)
	if v == nil {
		return nil, r.missing(name)
	}
	if v.Type() != want {
		return nil, r.wrong(name, "a JSON "+want.String())
	}
	return v, nil
}

func (r request) missing(name string) *fault {
	return &fault{code: "bad_message", message: fmt.Sprintf("%q is missing", name), re: r.kind}
}

func (r request) wrong(name, want string) *fault {
	return &fault{code: "bad_message", message: fmt.Sprintf("%q must be %s", name, want), re: r.kind}
}
