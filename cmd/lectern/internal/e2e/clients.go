package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// Missing skips the test, or fails it where nothing may be skipped.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// FindPython returns a Python that has websockets, or why there is none. The Debian
// package is for the system's own Python, which need not be the first in PATH.
func FindPython() (python, absent string) {
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(python, "-c", "import websockets").Run() == nil {
			return python, ""
		}
	}
	return "", "no python3 with websockets here (Debian: python3-websockets)"
}
