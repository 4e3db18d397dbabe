package main

import (
	"net/http"
	"regexp"
	"testing"

	"lectern/hub"
)

func TestCodesOption(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]bool{"": false, `codes = "base32"`: false, `codes = "hex6"`: true} {
		s, err := read(t, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.hubConfig().HexCodes; got != want {
			t.Errorf("with %q the relay draws codes of six digits: %t", file, got)
		}
	}
	if _, err := read(t, `codes = "decimal"`, nil); err == nil {
		t.Error("there are no decimal codes")
	}
}

// TestShortCodesInTheAPI: all of it takes and tells them too.
func TestShortCodesInTheAPI(t *testing.T) {
	s := newAPIServer(t, hub.Config{HexCodes: true})
	code := s.create(`{}`)
	if !regexp.MustCompile(`^[0-9A-F]{6}$`).MatchString(code) {
		t.Fatalf("the code is %q", code)
	}
	s.do(http.MethodGet, "/v1/api/rooms/"+code[:3]+"-"+code[3:], "").want(t, 200)
	s.do(http.MethodGet, "/v1/api/rooms?after="+code, "").want(t, 200)
	s.do(http.MethodDelete, "/v1/api/rooms/"+code, "").want(t, 200)
}
