package httpapi

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

// TestRefusedRequestsAreCounted by cause.
func TestRefusedRequestsAreCounted(t *testing.T) {
	const attempts = 20
	s := newAPIServer(t, hub.Config{})
	for range attempts {
		s.do(http.MethodGet, "/v1/api/rooms", "", apitest.WrongKey).Want(t, 401)
	}
	s.do(http.MethodGet, "/v1/api/rooms", "", apitest.WrongKey).Want(t, 429)
	s.do(http.MethodGet, "/v1/api/rooms", "", apitest.NoKey).Want(t, 401) // no attempt
	s.do(http.MethodGet, "/v1/api/rooms", "", apitest.Header("Origin", "https://evil.example")).Want(t, 403)
	provoke(s, 503, http.MethodGet, "/v1/api/rooms", "").Want(t, 503)

	s.admin.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://evil.example/metrics", nil))

	got := s.hub.Refusals()
	for cause, n := range map[string]uint64{"wrong_api_key": attempts, "too_many_keys": 1, "origin": 1, "http_busy": 1, "misdirected": 1} {
		if got[cause] != n {
			t.Errorf("%d refusals for %s are counted, want %d", got[cause], cause, n)
		}
	}
	for _, cause := range refusalCauses {
		if !slices.Contains(hub.Causes(), cause) {
			t.Errorf("the cause %s is not counted from the start", cause)
		}
	}
	for _, report := range s.hub.TakeRefusals() {
		if len(report.From) != 1 || report.From[0].String() != "192.0.2.1" {
			t.Errorf("%s came from %v", report.Cause, report.From)
		}
	}
}
