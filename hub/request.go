package hub

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fastjson"
)

// maxDepth is how deep a message may be nested. It is fastjson's own limit.
const maxDepth = fastjson.MaxDepth

// maxParsed is the largest message, in bytes, whose parser is kept: a parser
// holds up to forty times as much.
const maxParsed = 64 << 10

// A request is a message of the classroom protocol, parsed. It is valid until
// the same worker parses the next one.
type request struct {
	kind   string
	fields *fastjson.Object
}

// once are the fields that may not be there twice: clients would disagree
// about which one counts.
var once = [...]string{"type", "data", "seq"}

// parse reads a message. What it accepts is valid JSON by the strict grammar,
// because what is relayed goes to JSON.parse in every viewer.
func (s *shard) parse(payload []byte) (request, *fault) {
	if !json.Valid(payload) {
		return request{}, &fault{code: "bad_json", message: jsonProblem(payload)}
	}
	if len(payload) > maxParsed {
		defer func() { s.parser = fastjson.Parser{} }()
	}
	value, err := s.parser.ParseBytes(payload)
	if err != nil {
		// It is valid, so this can only be the depth.
		return request{}, &fault{code: "bad_json", message: fmt.Sprintf("the message is nested more than %d deep", maxDepth)}
	}
	fields, err := value.Object()
	if err != nil {
		return request{}, &fault{code: "bad_message", message: "a message must be a JSON object"}
	}
	r := request{fields: fields}
	kind, f := r.text("type")
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

// text returns a field that must be there and be a string.
func (r request) text(name string) (string, *fault) {
	v, f := r.field(name, fastjson.TypeString)
	if f != nil {
		return "", f
	}
	return string(v.GetStringBytes()), nil
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

// field returns a field that must be there and have the type.
func (r request) field(name string, want fastjson.Type) (*fastjson.Value, *fault) {
	v := r.fields.Get(name)
	if v == nil {
		return nil, &fault{code: "bad_message", message: fmt.Sprintf("%q is missing", name), re: r.kind}
	}
	if v.Type() != want {
		return nil, r.wrong(name, "a JSON "+want.String())
	}
	return v, nil
}

func (r request) wrong(name, want string) *fault {
	return &fault{code: "bad_message", message: fmt.Sprintf("%q must be %s", name, want), re: r.kind}
}
