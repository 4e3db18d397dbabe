package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/config/configtest"
)

const timeToEnd = 20 * time.Second

func bodyOf(t testing.TB, response *http.Response) string {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A reloaded is the line of the log about a new configuration.
type reloaded struct {
	Level, Msg, Error string
	Changed           []string
	NeedRestart       []string `json:"need_restart"`
}

// hangup sends SIGHUP and returns the line that the relay logs.
func hangup(t testing.TB, b *binary) (line reloaded) {
	t.Helper()
	before := len(b.logged())
	b.signal(syscall.SIGHUP)
	eventually(t, "the configuration is read again", func() bool {
		for text := range strings.Lines(b.logged()[before:]) {
			line = reloaded{}
			if json.Unmarshal([]byte(text), &line) == nil && strings.Contains(line.Msg, "the configuration") {
				return true
			}
		}
		return false
	})
	configtest.Leaks(t, "the log", b.logged())
	return line
}

// answerTo returns the answer to a message on a new connection.
func answerTo(t testing.TB, b *binary, text string) string {
	t.Helper()
	c := dial(t, b.url("/"))
	defer func() { _ = c.CloseNow() }() // or the relay's end would wait for its close frame
	say(t, c, text)
	return hear(t, c)
}

// TestHangup changes what can be changed, what cannot, and breaks the file.
func TestHangup(t *testing.T) {
	t.Parallel()
	keyFile := configtest.WriteFile(t, "api.key", configtest.APIKey)
	file := configtest.WriteFile(t, "lectern.toml", "")
	write := func(rooms, workers int, createKey, more string) {
		configtest.Rewrite(t, file, fmt.Sprintf("max-rooms = %d\nworkers = %d\ncreate-key = '%s'\napi-key-file = '%s'\n%s", rooms, workers, createKey, keyFile, more))
	}
	create := func(b *binary, key string) string { return answerTo(t, b, `{"type":"create","key":"`+key+`"}`) }
	expectError := func(what, got, code string) {
		t.Helper()
		if !strings.Contains(got, `"error":"`+code+`"`) {
			t.Errorf("%s: %s, want %s", what, got, code)
		}
	}
	write(1, 1, configtest.CreateKey, "")
	b := startBinary(t, "--config", file)
	expectError("the other key", create(b, configtest.OtherKey), "create_forbidden")
	if got := create(b, configtest.CreateKey); !strings.Contains(got, `"created"`) {
		t.Fatal(got)
	}
	expectError("a second room", create(b, configtest.CreateKey), "too_many_rooms")

	write(3, 2, configtest.OtherKey, "log-level = 'warn'\nallow-origin = ['http://a']\nmax-head = 4096\n")
	line := hangup(t, b)
	for _, want := range []string{"max-rooms: 1 -> 3", "create-key", "log-level: info -> warn", "allow-origin: [] -> [http://a]", "max-head: 8192 -> 4096"} {
		if !slices.Contains(line.Changed, want) {
			t.Errorf("%q lacks %q", line.Changed, want)
		}
	}
	if want := []string{"workers: 1 -> 2"}; len(line.Changed) != 5 || !reflect.DeepEqual(line.NeedRestart, want) {
		t.Errorf("%+v, want a restart for %q alone", line, want)
	}
	expectError("the old key", create(b, configtest.CreateKey), "create_forbidden")
	if got := create(b, configtest.OtherKey); !strings.Contains(got, `"created"`) {
		t.Errorf("with the new key: %s", got)
	}
	if status := apiStatus(t, b, configtest.APIKey); status != http.StatusOK {
		t.Errorf("the API key: %d", status)
	}

	// With a mistake nothing changes, not even the correct options beside it.
	write(9, 1, configtest.CreateKey, "max-veiwers = 1\n")
	if line = hangup(t, b); line.Level != "ERROR" || !strings.Contains(line.Error, file+":5: max-veiwers: there is no such option; did you mean max-viewers?") {
		t.Errorf("a broken file: %+v", line)
	}
	configtest.Rewrite(t, file, "max-rooms = ")
	if line = hangup(t, b); line.Level != "ERROR" || !strings.Contains(line.Error, file+":1: ") {
		t.Errorf("a broken file: %+v", line)
	}
	expectError("the old key", create(b, configtest.CreateKey), "create_forbidden")

	// Only the key's file changes, and the option that needs a restart is still listed.
	write(3, 2, configtest.OtherKey, "log-level = 'info'\nallow-origin = ['http://a']\nmax-head = 4096\n")
	configtest.Rewrite(t, keyFile, configtest.OtherKey)
	line = hangup(t, b)
	if want := []string{"log-level: warn -> info", "api-key"}; !reflect.DeepEqual(sorted(line.Changed), sorted(want)) || len(line.NeedRestart) != 1 {
		t.Errorf("%+v, want %q", line, want)
	}
	if old, now := apiStatus(t, b, configtest.APIKey), apiStatus(t, b, configtest.OtherKey); old != http.StatusUnauthorized || now != http.StatusOK {
		t.Errorf("the old API key: %d, the new one: %d", old, now)
	}
	if line = hangup(t, b); len(line.Changed) != 0 || line.Changed == nil {
		t.Errorf("nothing has changed: %+v", line)
	}
	b.signal(syscall.SIGTERM)
	if exit := b.wait(timeToEnd); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// apiStatus returns the status of a request to the HTTP API with a key.
func apiStatus(t testing.TB, b *binary, key string) int {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+b.addr+"/v1/api/summary", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	bodyOf(t, response)
	return response.StatusCode
}

// TestDrainTimeoutChanges: a drain uses the timeout of the last reload.
func TestDrainTimeoutChanges(t *testing.T) {
	t.Parallel()
	file := configtest.WriteFile(t, "lectern.toml", "drain-timeout = '1h'")
	b := startBinary(t, "--config", file)
	openRoom(t, b) // a host that never reads the goodbye
	configtest.Rewrite(t, file, "drain-timeout = '100ms'")
	hangup(t, b)
	b.signal(syscall.SIGTERM)
	if exit := b.wait(timeToEnd); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
}

// TestHostGraceZero: a room closes together with its host's connection.
func TestHostGraceZero(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--host-grace", "0")
	host, code := openRoom(t, b)
	viewer := dial(t, b.url("/"))
	say(t, viewer, `{"type":"join","code":"`+code+`"}`)
	hear(t, viewer)
	_ = host.CloseNow()
	if text := hear(t, viewer); text != `{"type":"closed","reason":"host_gone"}` {
		t.Errorf("the viewer heard %s", text)
	}
}

// TestOpenRelayWarns starts a relay that other machines reach.
func TestOpenRelayWarns(t *testing.T) {
	t.Parallel()
	file := configtest.WriteFile(t, "lectern.toml", "")
	cases := map[string]struct {
		addr, env string
		warns     bool
	}{
		"all addresses":     {":0", "", true},
		"all IPv4":          {"0.0.0.0:0", "", true},
		"loopback":          {"127.0.0.2:0", "", false},
		"localhost":         {"localhost:0", "", false},
		"with a create key": {":0", "LECTERN_CREATE_KEY=" + configtest.CreateKey, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			command := []string{"env"}
			if c.env != "" {
				command = append(command, c.env)
			}
			b := startBinaryUnder(t, command, "--addr", c.addr, "--config", file)
			b.signal(syscall.SIGTERM)
			b.wait(timeToEnd)
			want := 0
			if c.warns {
				want = 1
			}
			if n := strings.Count(b.logged(), openToAll); n != want {
				t.Errorf("it warns %d times, want %d", n, want)
			}
		})
	}
}

// TestFewDescriptors: the relay warns only if --max-connections was set.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]int{"--max-rooms=1": 0, "--max-connections=0": 0, "--max-connections=50": 0, "--max-connections=500": 1} {
		b := startBinaryUnder(t, []string{"sh", "-c", `ulimit -n 200; exec "$@"`, "sh"}, flag)
		b.signal(syscall.SIGTERM)
		b.wait(timeToEnd)
		if n := strings.Count(b.logged(), "fewer descriptors than connections"); n != want {
			t.Errorf("%s: it warns %d times, want %d", flag, n, want)
		}
	}
}
