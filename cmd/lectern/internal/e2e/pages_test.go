package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// page returns a page at the module's root.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hasRow reports whether a page has a row of a table that begins with this cell, in
// which code is marked.
func hasRow(page, cell string) bool { return strings.Contains(page, "\n| `"+cell+"` |") }
