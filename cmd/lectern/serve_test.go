package main

import "testing"

func TestCodesOption(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]bool{"": false, `codes = "base32"`: false, `codes = "hex6"`: true} {
		s, err := read(t, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := hubConfig(s).HexCodes; got != want {
			t.Errorf("with %q the relay draws codes of six digits: %t", file, got)
		}
	}
	if _, err := read(t, `codes = "decimal"`, nil); err == nil {
		t.Error("there are no decimal codes")
	}
}

// TestHostGraceZeroClosesAtOnce: to the hub zero means its default.
func TestHostGraceZeroClosesAtOnce(t *testing.T) {
	t.Parallel()
	s, err := read(t, "", nil, "--host-grace=0")
	if err != nil {
		t.Fatal(err)
	}
	if got := hubConfig(s).HostGrace; got >= 0 {
		t.Errorf("the hub waits %s for a host", got)
	}
}

// TestVariablesOfOtherCommands has one for the bench, which starts a relay that
// gets it too.
func TestVariablesOfOtherCommands(t *testing.T) {
	t.Parallel()
	if _, err := read(t, "", []string{"LECTERN_VIEWERS=5", "LECTERN_MAX_ROOMS=5"}); err != nil {
		t.Error(err)
	}
}
