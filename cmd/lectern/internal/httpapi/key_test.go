package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

// keyed are the requests that need the key.
func keyed(s *apiServer) (requests []route) {
	for _, o := range s.api.operations() {
		requests = append(requests, route{method: o.method, path: strings.ReplaceAll(o.path, "{code}", "A1B2C3")})
	}
	return requests
}

func TestKeys(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	for name, c := range map[string]struct {
		change apitest.Change
		status int
	}{
		"right":            {apitest.Header("Authorization", "Bearer "+apitest.Key), 200},
		"scheme's case":    {apitest.Header("Authorization", "bEARER "+apitest.Key), 200},
		"two spaces":       {apitest.Header("Authorization", "Bearer  "+apitest.Key), 200},
		"missing":          {apitest.NoKey, 401},
		"wrong":            {apitest.WrongKey, 401},
		"empty":            {apitest.Header("Authorization", ""), 401},
		"no key":           {apitest.Header("Authorization", "Bearer "), 401},
		"no scheme":        {apitest.Header("Authorization", apitest.Key), 401},
		"basic":            {apitest.Header("Authorization", "Basic "+apitest.Key), 401},
		"prefix":           {apitest.Header("Authorization", "Bearer "+apitest.Key[:5]), 401},
		"longer":           {apitest.Header("Authorization", "Bearer "+apitest.Key+"x"), 401},
		"other case":       {apitest.Header("Authorization", "Bearer "+strings.ToUpper(apitest.Key)), 401},
		"huge":             {apitest.Header("Authorization", "Bearer "+strings.Repeat("x", 7000)), 401},
		"NUL":              {apitest.Header("Authorization", "Bearer "+apitest.Key+"\x00"), 401},
		"emoji":            {apitest.Header("Authorization", "Bearer 👩‍🚀"), 401},
		"two lines":        {apitest.Header("Authorization", "Bearer "+apitest.Key, "Bearer "+apitest.Key), 401},
		"another's header": {func(r *http.Request) { apitest.NoKey(r); r.Header.Set("X-Api-Key", apitest.Key) }, 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(http.MethodGet, "/v1/api/summary", "", c.change).Want(t, c.status)
			if challenge := a.Header.Get("WWW-Authenticate"); (challenge != "") != (c.status == 401) {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
		})
	}
}

// TestEveryRequestNeedsTheKey asks without, with a wrong one, and with none
// configured, and finds nothing done.
func TestEveryRequestNeedsTheKey(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	code := s.create(`{}`)
	for _, r := range keyed(s) {
		target := strings.ReplaceAll(r.path, "A1B2C3", code)
		s.do(r.method, target, "not even JSON", apitest.NoKey).Want(t, 401, "API key")
		s.do(r.method, target, "not even JSON", apitest.WrongKey, from("192.0.2.9")).Want(t, 401, "API key")
		s.key = ""
		s.do(r.method, target, "", apitest.Header("Authorization", "Bearer ")).Want(t, 403, "no API key")
		s.do(r.method, target, "").Want(t, 403, "no API key")
		s.key = apitest.Key
	}
	if page, _ := s.hub.Rooms("", 10); len(page) != 1 || page[0].Seq != 0 {
		t.Errorf("something was done: %+v", page)
	}
}

// TestGuessedKeys counts wrong keys for each address, IPv6 for each /64.
func TestGuessedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t, hub.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		attempt := func(status int, changes ...apitest.Change) {
			t.Helper()
			s.do(http.MethodGet, "/v1/api/summary", "", append([]apitest.Change{apitest.WrongKey}, changes...)...).Want(t, status)
		}
		for range 20 {
			attempt(401, from("192.0.2.1"))
			attempt(401, from("[2001:db8::1]"))
			attempt(401, from("10.0.0.1"), apitest.Header("X-Forwarded-For", "203.0.113.7"))
			s.do(http.MethodGet, "/v1/api/summary", "", apitest.NoKey, from("192.0.2.2")).Want(t, 401)
		}
		attempt(429, from("192.0.2.1"))
		attempt(429, from("[2001:db8::ffff:2]"))
		attempt(429, from("10.0.0.2"), apitest.Header("X-Forwarded-For", "1.1.1.1", "203.0.113.7, 10.9.9.9")) // a client wrote the first
		attempt(401, from("192.0.2.2"), apitest.Header("X-Forwarded-For", "203.0.113.7"))                     // not believed
		attempt(401, from("[2001:db8:0:1::1]"))
		attempt(401, from("10.0.0.1"), apitest.Header("X-Forwarded-For", "203.0.113.8"))
		if a := s.do(http.MethodGet, "/v1/api/summary", "", apitest.WrongKey, from("192.0.2.1")); a.Header.Get("Retry-After") != "60" {
			t.Error("a 429 must say when to try again")
		}
		s.do(http.MethodGet, "/v1/api/summary", "", from("192.0.2.1")).Want(t, 200) // who has the key is not locked out
		s.do(http.MethodGet, "/v1/api/summary", "", apitest.NoKey, from("192.0.2.1")).Want(t, 401)
		time.Sleep(time.Minute)
		attempt(401, from("192.0.2.1"))
	})
}

// TestKeysChange wants each request judged by the key of its time.
func TestKeysChange(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	s.do(http.MethodGet, "/v1/api/summary", "").Want(t, 200)
	s.key = "another-key-0123456789"
	s.do(http.MethodGet, "/v1/api/summary", "").Want(t, 401)
	s.do(http.MethodGet, "/v1/api/summary", "", apitest.Header("Authorization", "Bearer "+s.key)).Want(t, 200)
}

// TestOriginsOfPages: none and the relay's own pass, others must be allowed.
func TestOriginsOfPages(t *testing.T) {
	s := newAPIServer(t, hub.Config{AllowOrigins: []string{"https://school.example"}})
	for origin, allowed := range map[string]bool{
		"": true, "http://example.com": true, "https://EXAMPLE.com": true, "https://school.example": true, "HTTPS://School.Example": true,
		"http://school.example": false, "https://school.example.evil": false, "https://evil.example": false, "null": false,
		"https://school.example:8443": false, "example.com": false, "👩‍🚀": false,
	} {
		status := map[bool]int{true: 200, false: 403}[allowed]
		a := s.do(http.MethodGet, "/v1/api/summary", "", apitest.Header("Origin", origin)).Want(t, status)
		if got := a.Header.Get("Access-Control-Allow-Origin"); allowed && got != origin || !allowed && got != "" {
			t.Errorf("Access-Control-Allow-Origin is %q for %q", got, origin)
		}
		if a.Header.Get("Vary") != "Origin" {
			t.Error("a cache must know that the answer depends on the origin")
		}
		status = map[bool]int{true: 204, false: 403}[allowed]
		for _, r := range append(s.routes, route{path: "/"}) {
			a := s.do(http.MethodOptions, strings.ReplaceAll(r.path, "{code}", "A1B2C3"), "", apitest.NoKey, apitest.Header("Origin", origin)).Want(t, status)
			methods := strings.Split(a.Header.Get("Access-Control-Allow-Methods"), ", ")
			if allowed && origin != "" && r.method != "" && (!slices.Contains(methods, r.method) ||
				a.Header.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type, Idempotency-Key, Last-Event-ID") {
				t.Errorf("%s: a page may not send %s: %v", r.path, r.method, a.Header)
			}
		}
	}
	s.do(http.MethodDelete, "/v1/api/rooms/"+s.create(`{}`), "", apitest.Header("Origin", "https://evil.example")).Want(t, 403)
	if page, _ := s.hub.Rooms("", 10); len(page) != 1 {
		t.Error("a page that may not ask deleted a room")
	}
}
