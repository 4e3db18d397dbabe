package bench

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
	if o.CreateKey != "" && (o.Template.Name != "classroom" || !isObject(o.Template.Open)) {
		return refuse("a create key belongs to the classroom protocol: it takes the preset classroom, and a JSON object that opens the room")
	}
	return nil
}

// opening returns the first message of a room's host.
func (o Options) opening(room, fields string) []byte {
	if o.CreateKey != "" {
		fields += `,"key":` + quoted(o.CreateKey)
	}
	return []byte(withFields(fill(o.Template.Open, room, 0), fields))
}

// redact takes the create key out of what a server said.
func (o Options) redact(text string) string {
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

// serverEnvironment returns the environment of a relay that the bench starts.
// The key goes there because everybody on the machine can read a command line.
func (o Options) serverEnvironment() []string {
	env := os.Environ()
	if o.CreateKey == "" {
		return env
	}
	env = slices.DeleteFunc(env, func(v string) bool {
		return strings.HasPrefix(v, createKeyVariable+"=") || strings.HasPrefix(v, createKeyVariable+"_FILE=")
	})
	return append(env, createKeyVariable+"="+o.CreateKey)
}
