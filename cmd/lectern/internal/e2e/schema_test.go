package e2e

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// root is the module's folder, seen from this package's.
const root = "../../../.."

const schemaFile = root + "/protocol.schema.json"

// The definitions of protocol.schema.json that hold for one direction.
const (
	fromClient = "from_client"
	fromRelay  = "from_relay"
)

// schemas compiles a definition of protocol.schema.json, once.
var schemas = struct {
	sync.Mutex
	compiled map[string]*jsonschema.Schema
}{compiled: make(map[string]*jsonschema.Schema)}

func schemaOf(t testing.TB, definition string) *jsonschema.Schema {
	t.Helper()
	schemas.Lock()
	defer schemas.Unlock()
	if schemas.compiled[definition] == nil {
		compiler := jsonschema.NewCompiler()
		compiled, err := compiler.Compile(schemaFile + "#/$defs/" + definition)
		if err != nil {
			t.Fatal(err)
		}
		schemas.compiled[definition] = compiled
	}
	return schemas.compiled[definition]
}

// validate checks a message against a definition.
func validate(t testing.TB, definition, text string) error {
	t.Helper()
	message, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return schemaOf(t, definition).Validate(message)
}

// heardAsDescribed fails the test if the relay sent what the schema does not
// have. Only what a host wrote may have other fields.
func heardAsDescribed(t testing.TB, text string) {
	t.Helper()
	if len(text) > 64<<10 {
		return // which would take long
	}
	if err := validate(t, fromRelay, text); err != nil {
		t.Errorf("the relay sent %.300s: %v", text, err)
		return
	}
	var message map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &message); err != nil {
		t.Fatal(err)
	}
	doc := readSchema(t)
	known := make(map[string]bool)
	for _, name := range doc.messages(fromRelay) {
		for _, kind := range doc.types(name) {
			if strconv.Quote(kind) != string(message["type"]) {
				continue
			}
			if name == "broadcast_to_viewers" || name == "history_of_host" && message["messages"] == nil {
				return
			}
			for field := range doc.Defs[name].Properties {
				known[field] = true
			}
		}
	}
	for field := range message {
		if !known[field] {
			t.Errorf("the relay sent %.300s, and the schema has no %q", text, field)
		}
	}
}

// A schemaDocument is protocol.schema.json as these tests read it.
type schemaDocument struct {
	Defs map[string]struct {
		AnyOf []struct {
			Ref string `json:"$ref"`
		}
		Properties map[string]struct {
			Const any
			Enum  []any
		}
	} `json:"$defs"`
}

// document reads it once.
var document = sync.OnceValues(func() (doc schemaDocument, err error) {
	text, err := os.ReadFile(schemaFile)
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	return doc, err
})

func readSchema(t testing.TB) schemaDocument {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// messages returns the names of the definitions of one direction.
func (d schemaDocument) messages(direction string) (names []string) {
	for _, message := range d.Defs[direction].AnyOf {
		names = append(names, strings.TrimPrefix(message.Ref, "#/$defs/"))
	}
	return names
}

// types returns the types of a definition's messages.
func (d schemaDocument) types(name string) (types []string) {
	kind := d.Defs[name].Properties["type"]
	for _, one := range slices.Concat(kind.Enum, []any{kind.Const}) {
		if text, ok := one.(string); ok {
			types = append(types, text)
		}
	}
	return types
}

// testFiles parses the tests below a folder of the module.
func testFiles(t *testing.T, folder string) (files []*ast.File) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestSchemaAgreesWithTheRelay sends the relay every message that a test of the
// protocol has, and each of the schema's with one field changed. Whatever the
// relay takes for a message must be one in the schema, and the other way round.
func TestSchemaAgreesWithTheRelay(t *testing.T) {
	t.Parallel()
	doc := readSchema(t)
	b := startBinary(t, "--host-grace=0", "--max-name=1024", "--max-viewers=10000000", "--max-rooms-per-address=100000")
	_, code := openRoom(t, b)
	names := make(map[string][]string) // of the definitions, by the messages' type
	for _, name := range doc.messages(fromClient) {
		for _, kind := range doc.types(name) {
			names[kind] = append(names[kind], name)
		}
	}
	texts := slices.Concat(testedMessages(t), changedMessages(t, doc))
	if len(texts) < 500 {
		t.Fatalf("only %d messages", len(texts))
	}
	checked := make(map[string]int)
	for _, text := range texts {
		var message struct{ Type string }
		if json.Unmarshal([]byte(text), &message) != nil {
			continue
		}
		if names[message.Type] == nil {
			names[message.Type] = []string{fromClient}
		}
		for _, name := range names[message.Type] {
			refused, why := refusal(t, b, name, code, text)
			if strings.Contains(why, "is there more than once") {
				continue // which a schema cannot tell
			}
			wrong := validate(t, name, text)
			if refused != (wrong != nil) {
				t.Errorf("%s: %.300s: the relay says %q, the schema %v", name, text, why, wrong)
			}
			checked[name]++
		}
	}
	for _, name := range doc.messages(fromClient) {
		if checked[name] < 5 {
			t.Errorf("only %d messages were like %s", checked[name], name)
		}
	}
}

// refusal sends a message from where its definition says, and returns whether the
// relay finds that it is none, and what it says.
func refusal(t *testing.T, b *binary, definition, code, text string) (refused bool, why string) {
	t.Helper()
	c := dial(t, b.url("/"))
	defer c.CloseNow()
	switch definition {
	case "create", "resume", "join", "ping", fromClient: // from outside
	case "message_to_host", "ask_history":
		say(t, c, `{"type":"join","code":"`+code+`"}`)
	default:
		say(t, c, `{"type":"create"}`)
	}
	say(t, c, text)
	say(t, c, `{"type":"ping","data":"the end"}`)
	for {
		_, answer, err := c.Read(t.Context())
		if err != nil {
			return false, err.Error()
		}
		heardAsDescribed(t, string(answer))
		var told struct{ Type, Error, Message, Data string }
		if json.Unmarshal(answer, &told) != nil {
			continue // another pong
		}
		switch {
		case told.Type == "pong" && told.Data == "the end":
			return false, why
		case told.Error == "bad_message" || told.Error == "bad_json" || told.Error == "unknown_type":
			return true, told.Message
		case told.Error != "":
			why = told.Message
		}
	}
}

// testedMessages returns the texts in the tests of the protocol that are JSON
// objects with a type. What is put together is taken with fillers for its parts.
func testedMessages(t *testing.T) (texts []string) {
	t.Helper()
	for _, file := range slices.Concat(testFiles(t, "hub"), testFiles(t, "cmd/lectern")) {
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, ok := folded(e)
			var message struct{ Type *string }
			if ok && json.Unmarshal([]byte(text), &message) == nil && message.Type != nil && len(text) < 10_000 {
				texts = append(texts, text)
			}
			return !ok
		})
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

var verbs = strings.NewReplacer("%d", "7", "%s", "K7QM-2XHD", "%q", `"K7QM-2XHD"`, "%v", "7", "%%", "%")

// folded returns the text of a string literal, or of a sum that has some.
func folded(e ast.Expr) (text string, ok bool) {
	if sum, isSum := e.(*ast.BinaryExpr); isSum && sum.Op == token.ADD {
		left, some := folded(sum.X)
		right, more := folded(sum.Y)
		if !some && !more {
			return "", false
		}
		if !some {
			left = "7"
		}
		if !more {
			right = "7"
		}
		return left + right, true
	}
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return verbs.Replace(text), err == nil
}

// changedMessages returns a message of each type, and each with each of its
// fields left out or of another kind.
func changedMessages(t *testing.T, doc schemaDocument) (texts []string) {
	t.Helper()
	good := map[string]any{
		"key": "k", "secret": "s", "name": "n", "max_viewers": 5, "history": true, "slow": "skip", "roster": true, "code": "K7QM-2XHD",
		"token": "ab", "numbered": true, "epoch": "cd", "seq": 3, "data": "d", "to": 1, "commands": []any{1}, "after": 0, "limit": 10, "id": 1,
		"ref": "r",
	}
	values := []any{nil, true, false, 0, 1, -1, 2.5, 1001, int64(1)<<32 - 1, int64(1) << 32, int64(1)<<53 + 2, "", "x", "host", "close", []any{}, map[string]any{}}
	for _, name := range doc.messages(fromClient) {
		for _, kind := range doc.types(name) {
			message := map[string]any{"type": kind}
			add := func() {
				text, err := json.Marshal(message)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, string(text))
			}
			for field := range doc.Defs[name].Properties {
				if value, ok := good[field]; ok {
					message[field] = value
				} else if field != "type" {
					t.Fatalf("%s has a field %s, which this test does not know", name, field)
				}
			}
			if name == "create" {
				message["history"] = "relay"
			}
			add()
			for _, field := range slices.Sorted(maps.Keys(message)) {
				if field == "type" {
					continue
				}
				old := message[field]
				delete(message, field)
				add()
				for _, value := range values {
					message[field] = value
					add()
				}
				message[field] = old
			}
			message["seq"] = 4 // which is not for clients to say
			add()
		}
	}
	return texts
}
