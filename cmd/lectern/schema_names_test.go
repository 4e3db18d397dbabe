package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lectern/hub"
)

// schemaNames are the names in protocol.schema.json.
type schemaNames struct {
	Defs map[string]struct {
		AnyOf []struct {
			Ref string `json:"$ref"`
		}
		Enum       []string
		Properties map[string]struct {
			Const any
			Enum  []any
		}
	} `json:"$defs"`
}

// types returns the types of the messages of one direction.
func (s schemaNames) types(direction string) (types []string) {
	for _, message := range s.Defs[direction].AnyOf {
		kind := s.Defs[strings.TrimPrefix(message.Ref, "#/$defs/")].Properties["type"]
		for _, one := range slices.Concat(kind.Enum, []any{kind.Const}) {
			if text, ok := one.(string); ok {
				types = append(types, text)
			}
		}
	}
	return types
}

// TestSchemaNamesWhatTheRelayKnows compares the names in the schema with the
// sources of hub.
func TestSchemaNamesWhatTheRelayKnows(t *testing.T) {
	var schema schemaNames
	if err := json.Unmarshal([]byte(page(t, "protocol.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	types, errors := protocolNames(t)
	sends := append(sentTypes(t), "command", "activate") // which are passed on as they come
	var reasons []string
	for _, reason := range hub.Reasons() {
		switch reason {
		case hub.ReasonLost, hub.ReasonClient, hub.ReasonHandshake, hub.ReasonHandshakeSlow, hub.ReasonPlain, hub.ReasonProtocol:
			// Nobody is told.
		default:
			reasons = append(reasons, reason.String())
		}
	}
	for what, both := range map[string][2][]string{
		"types from clients":    {schema.types("from_client"), types},
		"types from the relay":  {schema.types("from_relay"), sends},
		"errors":                {schema.Defs["error_code"].Enum, errors},
		"reasons of the closes": {schema.Defs["reason"].Enum, reasons},
	} {
		have, want := slices.Sorted(slices.Values(both[0])), slices.Sorted(slices.Values(both[1]))
		have, want = slices.Compact(have), slices.Compact(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s: the schema has\n%q, the code\n%q", what, have, want)
		}
	}
}

// sentTypes returns the types of the messages that package hub, and those below
// it, write themselves: in a text like {"type":"left"}, or as the first field of
// a struct that is encoded.
func sentTypes(t *testing.T) (types []string) {
	t.Helper()
	inText := regexp.MustCompile(`\{"type":"([a-z_]+)"`)
	err := filepath.WalkDir(filepath.Join(root, "hub"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				for _, text := range unquoted(n) {
					for _, found := range inText.FindAllStringSubmatch(text, -1) {
						types = append(types, found[1])
					}
				}
			case *ast.CompositeLit:
				if s, ok := n.Type.(*ast.StructType); ok && len(n.Elts) > 0 && beginsWithType(s) {
					types = append(types, unquoted(n.Elts[0])...)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// beginsWithType reports whether a struct's first field is the type in JSON.
func beginsWithType(s *ast.StructType) bool {
	if len(s.Fields.List) == 0 || s.Fields.List[0].Tag == nil {
		return false
	}
	tag, err := strconv.Unquote(s.Fields.List[0].Tag.Value)
	return err == nil && reflect.StructTag(tag).Get("json") == "type"
}

// unquoted returns the text of a string literal.
func unquoted(e ast.Expr) []string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return nil
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return nil
	}
	return []string{text}
}
