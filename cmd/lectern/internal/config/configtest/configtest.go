// Package configtest has keys and files for tests of the configuration.
package configtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The keys of these tests. No output may have them.
const (
	CreateKey = "create-0123456789abcdef"
	APIKey    = "api-0123456789abcdef"
	OtherKey  = "other-0123456789abcdef"
)

// Leaks fails the test if an output has one of the keys.
func Leaks(t testing.TB, where, output string) {
	t.Helper()
	for _, k := range []string{CreateKey, APIKey, OtherKey} {
		for _, form := range []string{k, fmt.Sprintf("%x", k), fmt.Sprint([]byte(k))} {
			if strings.Contains(output, form) {
				t.Errorf("%s has the key %s: %s", where, form, output)
			}
		}
	}
}

// WriteFile writes a file that ends with the test and returns its path.
func WriteFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	Rewrite(t, path, text)
	return path
}

// Rewrite replaces the text of a file.
func Rewrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
