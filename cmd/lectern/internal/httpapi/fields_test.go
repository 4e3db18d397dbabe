package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

// wrongValues are what no string, number or flag of a request may be, beyond
// its own.
var wrongValues = map[string]string{
	"null": `null`, "object": `{}`, "array": `["x"]`, "nested": `[[{"a":[1]}]]`, "fraction": `1.5`, "exponent": `1e3`,
	"huge number": `1` + strings.Repeat("0", 400), "negative": `-1`, "minus zero": `-0`,
	"string": `"x"`, "empty": `""`, "NUL": `"\u0000"`, "emoji": `"👩‍🚀🎓"`, "right to left": `"\u202Eשיעור ביולוגיה"`,
	"number": `7`, "zero": `0`, "true": `true`, "false": `false`,
	"long string": `"` + strings.Repeat("é", 65) + `"`, "lone surrogate": `"\ud800"`,
}

// TestFieldsOfARoom gives every field every value, and wants the message to name
// the field unless the value is one of those that it may have.
func TestFieldsOfARoom(t *testing.T) {
	words := []string{"string", "NUL", "emoji", "right to left", "lone surrogate"}
	good := map[string][]string{
		"name":        append(words, "empty"),
		"secret":      append(words, "long string"),
		"max_viewers": {"number"},
		"history":     {},
		"slow":        {},
		"roster":      {"true", "false"},
	}
	if have, want := slices.Sorted(maps.Keys(good)), slices.Sorted(slices.Values(roomFields)); !slices.Equal(have, want) {
		t.Fatalf("the test has the fields %q, a request %q", have, want)
	}
	s := newAPIServer(t, hub.Config{})
	for field, allowed := range good {
		for kind, value := range wrongValues {
			a := s.do(http.MethodPost, "/v1/api/rooms", `{"`+field+`":`+value+`}`)
			if slices.Contains(allowed, kind) {
				a.Want(t, 201)
			} else {
				a.Want(t, 400, field)
			}
		}
	}
	s.do(http.MethodPost, "/v1/api/rooms", `{"history":"relay","slow":"close"}`).Want(t, 201)
	s.do(http.MethodPost, "/v1/api/rooms", `{"history":"host","slow":"skip"}`).Want(t, 201)
}

// TestNamesComeBack wants a name to be told as it was given.
func TestNamesComeBack(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	for _, name := range []string{"", "<b>&amp;", "\x00", "👩‍🚀🎓", "\u202Eשיעור ביולוגיה", "\u2028", strings.Repeat("é", 64)} {
		body := string(mustMarshal(t, map[string]string{"name": name}))
		made := s.do(http.MethodPost, "/v1/api/rooms", body).Want(t, 201).Room(t)
		if shown := s.do(http.MethodGet, "/v1/api/rooms/"+made.Code, "").Room(t); made.Name != name || shown.Name != name {
			t.Errorf("the name %q was told as %q and %q", name, made.Name, shown.Name)
		}
	}
}

// TestDataOfABroadcast wants any JSON to be taken, and nothing else.
func TestDataOfABroadcast(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	path := "/v1/api/rooms/" + s.create(`{}`) + "/broadcast"
	for kind, value := range wrongValues {
		if a := s.do(http.MethodPost, path, `{"data":`+value+`}`); a.Status != 200 {
			t.Errorf("data that is %s was answered %s", kind, a)
		}
	}
	deep := func(n int) string { return `{"data":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	s.do(http.MethodPost, path, deep(299)).Want(t, 200)
	s.do(http.MethodPost, path, deep(300)).Want(t, 400, "300 deep")
	s.do(http.MethodPost, path, deep(100_000)).Want(t, 400, "valid JSON") // encoding/json's own limit
	s.do(http.MethodPost, path, `{}`).Want(t, 400, "data is missing")
}

// TestMalformedBodies are the same for both requests that have a body.
func TestMalformedBodies(t *testing.T) {
	bodies := map[string]struct{ body, told string }{
		"empty":              {" ", "valid JSON"},
		"array":              {`[]`, "JSON object"},
		"string":             {`"{}"`, "JSON object"},
		"null":               {`null`, "JSON object"},
		"half":               {`{"data":`, "valid JSON"},
		"trailing garbage":   {`{"data":1} x`, "valid JSON"},
		"two objects":        {`{"data":1}{}`, "valid JSON"},
		"trailing comma":     {`{"data":1,}`, "valid JSON"},
		"comment":            {`{"data":1 /* one */}`, "valid JSON"},
		"single quotes":      {`{'data':1}`, "valid JSON"},
		"bare word":          {`{"data":NaN}`, "valid JSON"},
		"leading zero":       {`{"data":01}`, "valid JSON"},
		"byte order mark":    {"\ufeff{}", "valid JSON"},
		"NUL":                {"\x00", "valid JSON"},
		"raw NUL in string":  {"{\"data\":\"\x00\"}", "valid JSON"},
		"bad UTF-8":          {"{\"data\":\"\xff\"}", "UTF-8"},
		"encoded surrogate":  {"{\"data\":\"\xed\xa0\x80\"}", "UTF-8"},
		"overlong":           {"{\"data\":\"\xc0\xaf\"}", "UTF-8"},
		"unknown field":      {`{"colour":1}`, `"colour"`},
		"case of a field":    {`{"Data":1,"Name":"x"}`, `"Data"`},
		"seq":                {`{"seq":1}`, `"seq"`},
		"empty name":         {`{"":1}`, `""`},
		"name with NUL":      {`{"\u0000":1}`, `"\x00"`},
		"right-to-left name": {`{"\u202Eatad":1}`, `"\u202eatad"`},
		"huge name":          {`{"` + strings.Repeat("x", 60_000) + `":1}`, "60000 bytes"},
		"twice":              {`{"%s":"x","%s":"x"}`, "more than once"},
		"twice, escaped":     {`{"%s":"x","%\u0073":"x"}`, "more than once"},
	}
	s := newAPIServer(t, hub.Config{})
	path := "/v1/api/rooms/" + s.create(`{}`) + "/broadcast"
	for kind, c := range bodies {
		for target, field := range map[string]string{"/v1/api/rooms": "name", path: "data"} {
			body := strings.NewReplacer("%s", field, `%\u0073`, escaped(field)).Replace(c.body)
			a := s.do(http.MethodPost, target, body)
			if a.Status != 400 || !strings.Contains(a.Message, c.told) {
				t.Errorf("%s: a body that is %s was answered %s", target, kind, a)
			}
			if len(a.Text) > 500 {
				t.Errorf("the answer to a body that is %s has %d bytes", kind, len(a.Text))
			}
		}
	}
	if seq := s.do(http.MethodPost, path, `{"data":1}`).Want(t, 200).Seq(t); seq != 1 {
		t.Errorf("%d malformed broadcasts were relayed", seq-1)
	}
}

// escaped returns a name whose first letter is written as an escape.
func escaped(name string) string {
	return map[string]string{"name": `\u006eame`, "data": `\u0064ata`}[name]
}

func TestSizesOfBodies(t *testing.T) {
	s := newAPIServer(t, hub.Config{MaxHostMessage: 1000})
	path := "/v1/api/rooms/" + s.create(`{}`) + "/broadcast"
	message := len(`{"type":"broadcast","data":""}`)
	data := func(n int) string { return `{"data":"` + strings.Repeat("x", n) + `"}` }
	padded := func(n int) string { return `{` + strings.Repeat(" ", n-2) + `}` }
	unknown := func(r *http.Request) { r.ContentLength = -1 } // as with chunks

	s.do(http.MethodPost, path, data(1000-message)).Want(t, 200)
	s.do(http.MethodPost, path, data(1001-message)).Want(t, 413) // would be too long for the viewers
	s.do(http.MethodPost, path, data(2000)).Want(t, 413, "1000 bytes")
	s.do(http.MethodPost, path, data(2000), unknown).Want(t, 413, "1000 bytes")
	s.do(http.MethodPost, "/v1/api/rooms", padded(maxRoomBody)).Want(t, 201)
	s.do(http.MethodPost, "/v1/api/rooms", padded(maxRoomBody+1)).Want(t, 413, "65536 bytes")
	s.do(http.MethodPost, "/v1/api/rooms", padded(maxRoomBody+1), unknown).Want(t, 413)
	s.do(http.MethodPost, "/v1/api/rooms", `{"secret":"`+strings.Repeat("s", 60_000)+`"}`).Want(t, 201)
}

func TestKindsOfBodies(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	kinds := map[string]int{
		"application/json": 201, "Application/JSON": 201, "application/json; charset=utf-8": 201, "application/json;charset=UTF-8": 201,
		"application/json; charset=latin1": 415, "text/json": 415, "application/x-www-form-urlencoded": 415, "": 415,
		"application/jsonp": 415, "application/json, text/plain": 415, "multipart/form-data; boundary=x": 415, "application/json; charset": 415,
	}
	for kind, status := range kinds {
		if a := s.do(http.MethodPost, "/v1/api/rooms", `{}`, apitest.Header("Content-Type", kind)); a.Status != status {
			t.Errorf("%q was answered %s, want %d", kind, a, status)
		}
	}
	a := s.do(http.MethodPost, "/v1/api/rooms", `{}`, apitest.Header("Content-Encoding", "gzip")).Want(t, 415)
	if a.Header.Get("Accept-Post") != "application/json" {
		t.Error("a 415 must say what would do")
	}
}

func TestQueries(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	code := s.create(`{}`)
	for query, told := range map[string]string{
		"limit=0": "limit", "limit=-1": "limit", "limit=1001": "limit", "limit=": "limit", "limit=ten": "limit", "limit=1.5": "limit",
		"limit=1e2": "limit", "limit=" + strings.Repeat("9", 400): "limit", "limit=%00": "limit", "limit=٣": "limit", "limit=1&limit=2": "limit",
		"after=": "after", "after=A1B2C": "after", "after=A1B2C3D": "after", "after=G1B2C3": "after", "after=%00%00%00%00%00%00": "after",
		"after=👩‍🚀": "after", "after=A1B2C3&after=A1B2C3": "after", "after=" + strings.Repeat("A", 4000): "after",
		"page=2": `"page"`, "Limit=1": `"Limit"`, "limit=1;after=A1B2C3": "query", "%zz=1": "query", "key=" + apitest.Key: `"key"`,
	} {
		s.do(http.MethodGet, "/v1/api/rooms?"+query, "").Want(t, 400, told)
	}
	for _, query := range []string{"", "limit=1", "limit=1000", "after=000000", "after=abcdef&limit=7", "%6cimit=5"} {
		s.do(http.MethodGet, "/v1/api/rooms?"+query, "").Want(t, 200)
	}
	for _, target := range []string{"/v1/api/summary", "/v1/api/rooms/" + code} {
		s.do(http.MethodGet, target+"?verbose=1", "").Want(t, 400, `"verbose"`)
	}
	s.do(http.MethodDelete, "/v1/api/rooms/"+code+"?force=1", "").Want(t, 400, `"force"`)
	s.do(http.MethodPost, "/v1/api/rooms?name=x", `{}`).Want(t, 400, `"name"`)
}

func TestCodesInPaths(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	code := s.create(`{}`)
	plain := strings.ReplaceAll(code, "-", "")
	for _, typed := range []string{code, strings.ToLower(code), plain, "%20" + code, plain[:2] + "%20" + plain[2:] + "-", strings.ReplaceAll(strings.ReplaceAll(code, "0", "o"), "1", "l")} {
		if shown := s.do(http.MethodGet, "/v1/api/rooms/"+typed, "").Want(t, 200).Room(t); shown.Code != code {
			t.Errorf("the room %s was shown as %s for %s", code, shown.Code, typed)
		}
		s.do(http.MethodPost, "/v1/api/rooms/"+typed+"/broadcast", `{"data":1}`, key("once")).Want(t, 200)
		var page roomPage
		if s.do(http.MethodGet, "/v1/api/rooms?after="+typed, "").Into(t, &page); len(page.Rooms) != 0 {
			t.Errorf("after %s comes %+v", typed, page.Rooms)
		}
	}
	if room, _ := s.hub.Room(code); room.Seq != 1 {
		t.Errorf("the same broadcast was relayed %d times, by other spellings of the code", room.Seq)
	}
	for _, bad := range []string{"A1B2C", code + "0", "%00%00%00%00%00%00", "GGGGGG", "👩‍🚀", "%F0%9F%8E%93", "%2e%2e", "%2F%2F",
		strings.Repeat("A", 6000), "%E2%80%AE" + code, code + "-secret", "-" + code[1:], strings.Repeat("-", 40) + code, plain[:7] + "U"} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if a := s.do(method, "/v1/api/rooms/"+bad, ""); a.Status != 404 {
				t.Errorf("%s %s was answered %s", method, bad, a)
			}
		}
		if a := s.do(http.MethodPost, "/v1/api/rooms/"+bad+"/broadcast", `{"data":1}`); a.Status != 404 {
			t.Errorf("a broadcast to %s was answered %s", bad, a)
		}
	}
	s.do(http.MethodDelete, "/v1/api/rooms/"+strings.ToLower(code), "").Want(t, 200)
	s.do(http.MethodDelete, "/v1/api/rooms/"+code, "").Want(t, 404)
}
