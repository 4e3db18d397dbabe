package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

// A roomPage is what a list is answered with.
type roomPage struct {
	Rooms []hub.RoomInfo
	Next  *string
}

// list reads all pages and returns the codes.
func (s *apiServer) list(limit int) (codes []string) {
	s.t.Helper()
	after := ""
	for pages := 0; pages < 10_000; pages++ {
		var page roomPage
		s.do(http.MethodGet, fmt.Sprintf("/v1/api/rooms?limit=%d%s", limit, after), "").Want(s.t, 200).Into(s.t, &page)
		for _, r := range page.Rooms {
			codes = append(codes, r.Code)
		}
		if page.Next == nil {
			return codes
		}
		if len(page.Rooms) != limit || *page.Next != codes[len(codes)-1] {
			s.t.Fatalf("a page of %d rooms up to %s goes on after %s", len(page.Rooms), codes[len(codes)-1], *page.Next)
		}
		after = "&after=" + strings.ToLower(*page.Next)
	}
	s.t.Fatal("the list has no end")
	return nil
}

func TestPages(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	if got := s.do(http.MethodGet, "/v1/api/rooms", "").Want(t, 200); string(got.Data) != `{"rooms":[],"next":null}` {
		t.Errorf("no rooms are listed as %s", got.Data)
	}
	var made []string
	for n := range 205 {
		room, _, err := s.hub.CreateRoom(hub.RoomOptions{Name: fmt.Sprint(n)})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, room.Code)
	}
	slices.Sort(made)
	for _, limit := range []int{5, 41, 100, 204, 205, 206, 1000} { // 41 divides 205
		if got := s.list(limit); !slices.Equal(got, made) {
			t.Errorf("in pages of %d there are %d rooms, want %d", limit, len(got), len(made))
		}
	}
	var page roomPage
	s.do(http.MethodGet, "/v1/api/rooms", "").Into(t, &page)
	if len(page.Rooms) != standardPage {
		t.Errorf("a page has %d rooms by default", len(page.Rooms))
	}
	page = roomPage{}
	s.do(http.MethodGet, "/v1/api/rooms?after=ZZZZ-ZZZZ", "").Into(t, &page)
	if len(page.Rooms) != 0 || page.Next != nil {
		t.Errorf("after the last code come %+v", page)
	}
}

// TestPagesWhileRoomsComeAndGo wants every room that stays to be listed once.
func TestPagesWhileRoomsComeAndGo(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	make1 := func() string {
		room, _, err := s.hub.CreateRoom(hub.RoomOptions{})
		if err != nil {
			t.Error(err)
		}
		return room.Code
	}
	var stay []string
	for range 200 {
		stay = append(stay, make1())
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
				}
				var passing []string
				for range 20 {
					passing = append(passing, make1())
				}
				for _, code := range passing {
					s.hub.DeleteRoom(code)
				}
			}
		})
	}
	for range 4 {
		codes := s.list(13)
		if !slices.IsSorted(codes) || len(slices.Compact(slices.Clone(codes))) != len(codes) {
			t.Error("the list is not in order, or has a room twice")
		}
		listed := make(map[string]bool)
		for _, code := range codes {
			listed[code] = true
		}
		for _, code := range stay {
			if !listed[code] {
				t.Errorf("the room %s is missing", code)
			}
		}
	}
	close(stop)
	others.Wait()
}

func TestMethodsAndPaths(t *testing.T) {
	s := newAPIServer(t, hub.Config{EchoPath: "/echo/"})
	code := s.create(`{}`)
	allow := map[string]string{
		"/v1/api/rooms": "GET, HEAD, POST, OPTIONS", "/v1/api/rooms/" + code: "GET, HEAD, DELETE, OPTIONS",
		"/v1/api/rooms/" + code + "/broadcast": "POST, OPTIONS", "/v1/api/summary": "GET, HEAD, OPTIONS",
		"/v1/api/openapi.json": "GET, HEAD, OPTIONS", "/health/live": "GET, HEAD, OPTIONS", "/health/ready": "GET, HEAD, OPTIONS",
	}
	for target, methods := range allow {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "get", "BREW"} {
			known := slices.Contains(strings.Split(methods, ", "), method)
			if known && method != "OPTIONS" {
				continue
			}
			a := s.do(method, target, "", apitest.NoKey)
			if known && a.Status != 204 || !known && a.Status != 405 || a.Header.Get("Allow") != methods {
				t.Errorf("%s %s was answered %s with Allow %q", method, target, a, a.Header.Get("Allow"))
			}
		}
	}
	for _, target := range []string{"/v1/api", "/v1/api/", "/v1/api/rooms/", "/v1/api/rooms/" + code + "/", "/v1/api/rooms/" + code + "/nothing",
		"//v1/api/rooms", "/v1//api/rooms", "/v1/api/./rooms", "/v1/api/x/../rooms", "/v1/api/%2e%2e/api/rooms", "/V1/API/ROOMS", "//example.com/%2e%2e", "/nowhere"} {
		if a := s.do(http.MethodGet, target, ""); a.Status != 404 {
			t.Errorf("%s was answered %s", target, a)
		}
	}
	s.do(http.MethodOptions, "*", "", apitest.NoKey).Want(t, 204)
	for _, target := range []string{"/", "/v1/websocket", "/echo/"} {
		s.do(http.MethodGet, target, "", apitest.NoKey).Want(t, 426)
		s.do(http.MethodOptions, target, "", apitest.NoKey).Want(t, 204)
	}
}

// TestHead wants what GET tells, without the body.
func TestHead(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	for _, target := range []string{"/v1/api/rooms", "/v1/api/rooms/" + s.create(`{}`), "/v1/api/openapi.json", "/health/live", "/v1/api/rooms/A1B2C3x"} {
		get, head := s.do(http.MethodGet, target, ""), s.do(http.MethodHead, target, "")
		if head.Status != get.Status || head.Header.Get("Content-Length") != get.Header.Get("Content-Length") {
			t.Errorf("%s: GET was answered %s, HEAD %s with %v", target, get, head, head.Header)
		}
	}
	s.do(http.MethodHead, "/v1/api/rooms", "", apitest.NoKey).Want(t, 401)
}

func TestTooManyRoomsAndShutdown(t *testing.T) {
	s := newAPIServer(t, hub.Config{MaxRooms: 2})
	s.create(`{}`)
	code := s.create(`{}`)
	a := s.do(http.MethodPost, "/v1/api/rooms", `{}`).Want(t, 503, "all the rooms")
	if a.Header.Get("Retry-After") == "" {
		t.Error("a 503 must say when to try again")
	}
	s.do(http.MethodDelete, "/v1/api/rooms/"+code, "").Want(t, 200)
	s.create(`{}`)
	s.hub.Drain()
	s.do(http.MethodPost, "/v1/api/rooms", `{}`).Want(t, 503, "shutting down")
	s.do(http.MethodGet, "/health/ready", "").Want(t, 503, "shutting down")
	s.do(http.MethodGet, "/v1/api/rooms", "").Want(t, 200)
}
