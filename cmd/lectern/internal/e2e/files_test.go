package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// The keys of these tests. No output may have them.
const (
	testCreateKey = "create-0123456789abcdef"
	testAPIKey    = "api-0123456789abcdef"
	otherKey      = "other-0123456789abcdef"
)

// writeFile writes a file that ends with the test and returns its path.
func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	rewrite(t, path, text)
	return path
}

func rewrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// openToAll is the warning about a relay that other machines reach and that has no
// create key.
const openToAll = "anybody who reaches the relay may create rooms: set LECTERN_CREATE_KEY or --create-key-file"
