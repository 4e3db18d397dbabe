package e2e

import (
	"os/exec"
	"testing"
)

// TestPicture draws the README's picture again, from a lecture on this relay.
func TestPicture(t *testing.T) {
	t.Parallel()
	drawn, err := exec.Command("go", "run", "../../testdata/picture", binaryPath).Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(drawn) != page(t, "docs/lecture.svg") {
		t.Error("docs/lecture.svg is not what the relay says now: make picture draws it again")
	}
}
