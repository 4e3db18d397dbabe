package httpapi

import (
	"net/http"
	"regexp"
	"testing"

	"lectern/hub"
)

// TestShortCodesInTheAPI: all of it takes and tells them too.
func TestShortCodesInTheAPI(t *testing.T) {
	s := newAPIServer(t, hub.Config{HexCodes: true})
	code := s.create(`{}`)
	if !regexp.MustCompile(`^[0-9A-F]{6}$`).MatchString(code) {
		t.Fatalf("the code is %q", code)
	}
	s.do(http.MethodGet, "/v1/api/rooms/"+code[:3]+"-"+code[3:], "").Want(t, 200)
	s.do(http.MethodGet, "/v1/api/rooms?after="+code, "").Want(t, 200)
	s.do(http.MethodDelete, "/v1/api/rooms/"+code, "").Want(t, 200)
}
