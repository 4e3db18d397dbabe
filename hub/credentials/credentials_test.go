package credentials

import (
	"testing"

	"lectern/hub/roomcode"
)

// TestAViewersTokenIsValidInItsRoomOnly also pins the form: tokens outlive the
// relay.
func TestAViewersTokenIsValidInItsRoomOnly(t *testing.T) {
	room, _ := roomcode.Parse("A1B2C3")
	other, _ := roomcode.Parse("K7QM-2XHD")
	var v, stranger ViewerTokens
	stranger.Key[0] = 1
	token := string(v.Append(nil, "0123456789ab", room, 7))
	if id, ok := v.Check(token, "0123456789ab", room); id != 7 || !ok {
		t.Errorf("%s is of viewer %d, %v", token, id, ok)
	}
	for name, check := range map[string]func() (uint32, bool){
		"another room":  func() (uint32, bool) { return v.Check(token, "0123456789ab", other) },
		"another epoch": func() (uint32, bool) { return v.Check(token, "ab0123456789", room) },
		"another key":   func() (uint32, bool) { return stranger.Check(token, "0123456789ab", room) },
		"another id":    func() (uint32, bool) { return v.Check("00000008"+token[8:], "0123456789ab", room) },
		"half of it":    func() (uint32, bool) { return v.Check(token[:20], "0123456789ab", room) },
		"no token":      func() (uint32, bool) { return v.Check("", "0123456789ab", room) },
	} {
		if _, ok := check(); ok {
			t.Errorf("%s: the token is valid", name)
		}
	}
}

func TestHashesMatchTheirTextOnly(t *testing.T) {
	h := HashOf("secret")
	text, _ := h.MarshalText()
	var again Hash
	if err := again.UnmarshalText(text); err != nil || again != h || !again.Matches("secret") || again.Matches("Secret") || !h.IsSet() || (Hash{}).IsSet() {
		t.Errorf("%s is read as %v, %v", text, again, err)
	}
	if again.UnmarshalText(text[1:]) == nil || again.UnmarshalText(append(text[1:], 'x')) == nil {
		t.Error("a malformed hash is read")
	}
}
