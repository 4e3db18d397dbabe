package workload

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// createKeyVariable is the environment variable that a relay takes its create
// key from.
const createKeyVariable = "LECTERN_CREATE_KEY"

// checkCreateKey refuses a key that no message could carry.
func (o Options) checkCreateKey() error {
	if o.CreateKey != "" && (o.Template.Name != "classroom" || !IsObject(o.Template.Open)) {
		return Refuse("a create key belongs to the classroom protocol: it takes the preset classroom, and a JSON object that opens the room")
	}
	return nil
}

// Opening returns the first message of a room's host.
func (o Options) Opening(room, fields string) []byte {
	if o.CreateKey != "" {
		fields += `,"key":` + quoted(o.CreateKey)
	}
	return []byte(WithFields(Fill(o.Template.Open, room, 0), fields))
}

// Redact takes the create key out of what a server said.
func (o Options) Redact(text string) string {
	if o.CreateKey == "" {
		return text
	}
	escaped := strings.Trim(quoted(o.CreateKey), `"`)
	return strings.NewReplacer(o.CreateKey, "********", escaped, "********").Replace(text)
}

func quoted(text string) string {
	b, _ := json.Marshal(text) // a string always has a form in JSON
	return string(b)
}

// ServerEnvironment returns the environment of a relay that the bench starts.
// The key goes there because all users of the machine can read a command line.
func (o Options) ServerEnvironment() []string {
	env := os.Environ()
	if o.CreateKey == "" {
		return env
	}
	env = slices.DeleteFunc(env, func(v string) bool {
		return strings.HasPrefix(v, createKeyVariable+"=") || strings.HasPrefix(v, createKeyVariable+"_FILE=")
	})
	return append(env, createKeyVariable+"="+o.CreateKey)
}

// WithFields adds fields, which begin with a comma, to a JSON object.
func WithFields(object, fields string) string {
	if i := len(object) - 1; i >= 0 && object[i] == '}' {
		return object[:i] + fields + "}"
	}
	return object
}

// IsObject reports whether a text looks like a JSON object that fields can be
// added to.
func IsObject(text string) bool {
	return len(text) > 2 && text[0] == '{' && text[len(text)-1] == '}'
}
