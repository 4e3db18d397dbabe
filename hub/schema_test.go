package hub

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var schemaFromRelay = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile("../protocol.schema.json#/$defs/from_relay")
})

// described holds the shapes of the messages that were validated: most tests are
// about time, which validating takes.
var described sync.Map

// shape returns a message without what differs from one of its kind to the next:
// digits, hexadecimal ones too, and capital letters.
func shape(text string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'Z' {
			return -1
		}
		return r
	}, text)
}

// asDescribed fails the test if a session got a message that the schema of the
// protocol does not have. An echo has no type.
func asDescribed(t testing.TB, text string) {
	t.Helper()
	if len(text) > 4096 {
		return
	}
	if _, known := described.LoadOrStore(shape(text), true); known {
		return
	}
	var typed struct{ Type *string }
	if json.Unmarshal([]byte(text), &typed) != nil || typed.Type == nil {
		return
	}
	schema, err := schemaFromRelay()
	if err != nil {
		t.Fatal(err)
	}
	message, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = schema.Validate(message)
	}
	if err != nil {
		t.Errorf("a session got %.300s: %v", text, err)
	}
}
