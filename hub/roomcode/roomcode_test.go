package roomcode

import (
	"regexp"
	"strings"
	"testing"
)

func TestCodesAsTheyAreTyped(t *testing.T) {
	for text, want := range map[string]string{
		"K7QM-2XHD": "K7QM-2XHD", "k7qm2xhd": "K7QM-2XHD", " k7 qm-2x hd ": "K7QM-2XHD", "K-7-Q-M-2-X-H-D": "K7QM-2XHD",
		"oO0I-1lL1": "0001-1111", "A1B2C3": "A1B2C3", "a1b-2c3": "A1B2C3", "aib2c3": "A1B2C3", "A1B2C3D4": "A1B2-C3D4",
		"": "", "-": "", "K7QM-2XH": "", "K7QM-2XHDE": "", "K7QM-2XHU": "", "K7QM_2XHD": "", "A1B2CG": "", "A1B2C": "", "A1B2C3D": "",
		"K7QM-2XHÜ": "", "K7QM\x002XH": "", "K7QM-2XHD\n": "", "K7QM-2XHD" + strings.Repeat("-", maxTyped): "",
	} {
		got, ok := Parse(text)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q is read as %q, %v, want %q", text, got, ok, want)
		}
	}
}

func TestCodesWithTheSecretBehind(t *testing.T) {
	for text, want := range map[string]struct {
		code, secret string
		found        bool
	}{
		"K7QM-2XHD-geheim":    {"K7QM-2XHD", "geheim", true},
		"k7qm2xhd-ge-heim ":   {"k7qm2xhd", "ge-heim ", true},
		"k7qm 2xhd-geheim":    {"k7qm 2xhd", "geheim", true},
		"K7QM-2XHD-U":         {"K7QM-2XHD", "U", true},
		"K7QM-2XHD":           {"K7QM-2XHD", "", false},
		"K7QM-2XHD-":          {"K7QM-2XHD-", "", false}, // a code with one dash too many
		"A1B2C3-geheim":       {"A1B2C3", "geheim", true},
		"A1B2C3-ab-cd":        {"A1B2C3", "ab-cd", true},
		"A1B2-C3AB-cd":        {"A1B2-C3AB", "cd", true},
		"A1B2C3-ab":           {"A1B2C3-ab", "", false}, // a code of eight characters
		"K7Q-M2XHD-geheim":    {"K7Q-M2XHD-geheim", "", false},
		"K7QM2X-geheim":       {"K7QM2X-geheim", "", false},
		"K7QM-2XHDgeheim":     {"K7QM-2XHDgeheim", "", false},
		"K7QM-2XHD-Größe 👩‍🚀": {"K7QM-2XHD", "Größe 👩‍🚀", true},
	} {
		code, secret, found := CutSecret(text)
		if code != want.code || secret != want.secret || found != want.found {
			t.Errorf("%q is read as %q with the secret %q, %v", text, code, secret, found)
		}
	}
}

func TestDrawnCodesUseTheWholeAlphabet(t *testing.T) {
	for hexadecimal, form := range map[bool]string{false: `^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`, true: `^[0-9A-F]{6}$`} {
		valid, seen := regexp.MustCompile(form), make(map[rune]bool)
		for range 1000 {
			text := Draw(hexadecimal).String()
			if !valid.MatchString(text) {
				t.Fatalf("%q was drawn", text)
			}
			if c, ok := Parse(text); !ok || c.String() != text || c.hexadecimal() != hexadecimal {
				t.Fatalf("%q is read as %q, %v", text, c, ok)
			}
			for _, char := range strings.ReplaceAll(text, "-", "") {
				seen[char] = true
			}
		}
		if want := map[bool]int{false: 32, true: 16}[hexadecimal]; len(seen) != want {
			t.Errorf("%d different characters were drawn, want %d", len(seen), want)
		}
	}
}

// FuzzCode: whatever is typed, what is read is a code that is told and read the
// same again.
func FuzzCode(f *testing.F) {
	for _, text := range []string{"K7QM-2XHD", "k7qm 2xhd-geheim", "A1B2C3", "A1B2C3-x", "oIl", "---------"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		typed, secret, found := CutSecret(text)
		if found && typed+"-"+secret != text {
			t.Errorf("%q is cut into %q and %q", text, typed, secret)
		}
		c, ok := Parse(typed)
		if found && !ok {
			t.Errorf("%q has a secret behind what is no code", text)
		}
		if again, known := Parse(c.String()); ok && (!known || again != c) {
			t.Errorf("%q is read as %q, and that as %q", text, c, again)
		}
	})
}
