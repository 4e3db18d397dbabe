package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// TestCreateKeySources sets the create key wherever it can be.
func TestCreateKeySources(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "create.key", testCreateKey+"\n")
	other := writeFile(t, "other.key", otherKey+"\r\n")
	cases := map[string]struct {
		file  string
		env   []string
		flags []string
		want  string // the create key
		from  string // the beginning of its source
	}{
		"none":                    {"", nil, nil, "", "default"},
		"variable":                {"", []string{"LECTERN_CREATE_KEY=" + testCreateKey}, nil, testCreateKey, "environment LECTERN_CREATE_KEY"},
		"file by a flag":          {"", nil, []string{"--create-key-file", file}, testCreateKey, "flag"},
		"file by a variable":      {"", []string{"LECTERN_CREATE_KEY_FILE=" + other}, nil, otherKey, "environment LECTERN_CREATE_KEY_FILE"},
		"file by the file":        {"create-key-file = '" + file + "'", nil, nil, testCreateKey, "file "},
		"in the file":             {"create-key = '" + testCreateKey + "'", nil, nil, testCreateKey, "file "},
		"flag before variable":    {"", []string{"LECTERN_CREATE_KEY=" + testCreateKey}, []string{"--create-key-file", other}, otherKey, "flag"},
		"variable before file":    {"create-key-file = '" + file + "'", []string{"LECTERN_CREATE_KEY=" + otherKey}, nil, otherKey, "environment "},
		"variable's file, before": {"create-key = '" + testCreateKey + "'", []string{"LECTERN_CREATE_KEY_FILE=" + other}, nil, otherKey, "environment "},
		"spaces":                  {"", []string{"LECTERN_CREATE_KEY=correct horse battery"}, nil, "correct horse battery", "environment "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := read(t, c.file, c.env, c.flags...)
			if err != nil {
				t.Fatal(err)
			}
			if s.createKey.value.reveal() != c.want || !strings.HasPrefix(s.createKey.source.String(), c.from) || s.apiKey.value.isSet() {
				t.Errorf("got %q from %s", s.createKey.value.reveal(), s.createKey.source)
			}
		})
	}
}

// TestBadKeys looks at what is refused. The reason must not show the key.
func TestBadKeys(t *testing.T) {
	t.Parallel()
	short := strings.Repeat("s", minKey-1)
	file := func(text string) string { return writeFile(t, "bad.key", text) }
	cases := map[string]struct {
		env  string
		want string
	}{
		"too short":           {"LECTERN_CREATE_KEY=" + short, "LECTERN_CREATE_KEY: the key has 15 bytes and could be guessed: it needs 16 or more"},
		"too short in a file": {"LECTERN_API_KEY_FILE=" + file(short+"\n"), "LECTERN_API_KEY_FILE: the key has 15 bytes"},
		"too long":            {"LECTERN_API_KEY=" + strings.Repeat("s", maxKey+1), "more than 1024 bytes"},
		"empty variable":      {"LECTERN_CREATE_KEY=", "LECTERN_CREATE_KEY: the key is empty"},
		"empty file":          {"LECTERN_CREATE_KEY_FILE=" + file(""), "bad.key is empty"},
		"only a line's end":   {"LECTERN_CREATE_KEY_FILE=" + file("\n"), "bad.key is empty"},
		"no file":             {"LECTERN_CREATE_KEY_FILE=/nonexistent/key", "LECTERN_CREATE_KEY_FILE: open /nonexistent/key: no such file"},
		"directory":           {"LECTERN_API_KEY_FILE=/", "is a directory"},
		"endless":             {"LECTERN_API_KEY_FILE=/dev/zero", "more than 1048576 bytes"},
		"no name":             {"LECTERN_API_KEY_FILE=", "LECTERN_API_KEY_FILE: no file is named"},
		"two lines":           {"LECTERN_API_KEY_FILE=" + file(short+"\n"+short+"\n"), "must be one line of text"},
		"not UTF-8":           {"LECTERN_CREATE_KEY=" + short + "\xff", "must be one line of text, in UTF-8"},
		"space in a header":   {"LECTERN_API_KEY=" + short + " s", "the key goes into an HTTP header"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, "", []string{c.env})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), short) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	_, err := read(t, "", []string{"LECTERN_API_KEY=" + testAPIKey, "LECTERN_API_KEY_FILE=x"})
	if want := "LECTERN_API_KEY and LECTERN_API_KEY_FILE: only one of them may be set"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err = read(t, "", []string{"LECTERN_API_KEY=" + short + "s"}); err != nil {
		t.Errorf("a key of 16 bytes: %v", err)
	}
}

// TestSecretsAreMasked prints keys in all ways that a program does by accident.
func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	s, err := read(t, "create-key = '"+testCreateKey+"'", []string{"LECTERN_API_KEY=" + testAPIKey})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v %+v %#v %v %q %x", *s, *s, *s, s.apiKey, s.createKey.value, s.apiKey.value)
	for _, log := range []*slog.Logger{newLogger(&b, "text", slog.LevelInfo), newLogger(&b, "json", slog.LevelInfo)} {
		log.Info("settings", "all", s.createKey, "key", s.apiKey.value)
	}
	if err := json.NewEncoder(&b).Encode(map[string]any{"key": s.apiKey.value}); err != nil {
		t.Fatal(err)
	}
	leaks(t, "a print", b.String())
	if !strings.Contains(b.String(), secretMask) {
		t.Error("there is no mask")
	}
}

// leaks looks for the tests' keys in an output.
func leaks(t testing.TB, where, output string) {
	t.Helper()
	for _, k := range []string{testCreateKey, testAPIKey, otherKey} {
		for _, form := range []string{k, fmt.Sprintf("%x", k), fmt.Sprint([]byte(k))} {
			if strings.Contains(output, form) {
				t.Errorf("%s has the key %s: %s", where, form, output)
			}
		}
	}
}

// TestConfigCommand prints a configuration, and runs on what was printed.
func TestConfigCommand(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "lectern.toml", "create-key = '"+testCreateKey+"'\nhost-grace = '90s'\ntrusted-proxy = ['10.0.0.1', '::1']\nallow-origin = []\n")
	env := []string{"LECTERN_API_KEY=" + testAPIKey, "LECTERN_ALLOW_ORIGIN=http://a,http://b", "LECTERN_CONFIG=" + file}
	out, problems, exit := lectern(t, env, "config", "--max-rooms=5", "--admin-addr=")
	if exit != 0 {
		t.Fatalf("exit code %d: %s", exit, problems)
	}
	leaks(t, "lectern config", out)
	for _, want := range []string{
		"max-rooms = 5 # flag\n", "admin-addr = '' # flag\n", "host-grace = '1m30s' # file " + file + ":2\n",
		"allow-origin = ['http://a', 'http://b'] # environment LECTERN_ALLOW_ORIGIN\n", "trusted-proxy = ['10.0.0.1', '::1'] # file " + file + ":3\n",
		"max-viewers = 20000 # default\n", "# echo is not set # default\n", "# config = '" + file + "' # environment LECTERN_CONFIG\n",
		`# create-key = "********" # file ` + file + ":1\n", `# api-key = "********" # environment LECTERN_API_KEY` + "\n",
	} {
		if !strings.Contains(squeezed(out), want) {
			t.Errorf("it lacks %q", want)
		}
	}
	again := writeFile(t, "printed.toml", out)
	printed, problems, exit := lectern(t, nil, "config", "--config", again)
	if exit != 0 {
		t.Fatalf("the output is no configuration: %s", problems)
	}
	var first, second map[string]any
	if err := toml.Unmarshal([]byte(out), &first); err != nil {
		t.Fatal(err)
	}
	if err := toml.Unmarshal([]byte(printed), &second); err != nil || len(first) < 30 || fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("%v: the output means\n%v\nand not\n%v", err, second, first)
	}
}

// squeezed makes each run of spaces one.
func squeezed(text string) string {
	for strings.Contains(text, "  ") {
		text = strings.ReplaceAll(text, "  ", " ")
	}
	return text
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	good := []string{"LECTERN_API_KEY=" + testAPIKey}
	out, problems, exit := lectern(t, good, "check", "--addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0")
	if exit != 0 || out != "The configuration is good.\n" || problems != "" {
		t.Errorf("exit code %d, %q and %q", exit, out, problems)
	}
	_, problems, exit = lectern(t, nil, "check", "--addr=:0", "--admin-addr=")
	if exit != 0 || problems != "lectern: warning: "+openToAll+"\n" {
		t.Errorf("exit code %d and %q", exit, problems)
	}
	for _, flag := range []string{"--log-format=xml", "--max-rooms=many", "--nonsense"} { // kong has several codes
		if _, _, exit = lectern(t, nil, "check", flag); exit != 1 {
			t.Errorf("%s: exit code %d, want 1", flag, exit)
		}
	}
	file := writeFile(t, "bad.toml", "max-roms = 5\nping-after = 25\nallow-origin = 'a'\ncreate-key = '"+testCreateKey+"'\ncreate-key-file = 'x'\n")
	env := []string{"LECTERN_CONFIG=" + file, "LECTERN_MAX_VEIWERS=1", "LECTERN_API_KEY_FILE=/nonexistent/key", "LECTERN_TRUSTED_PROXY=me"}
	out, problems, exit = lectern(t, env, "check", "--addr=8765", "--workers=-1", "--echo=echo")
	if exit != 1 || out != "" {
		t.Errorf("exit code %d and %q", exit, out)
	}
	leaks(t, "lectern check", problems)
	for _, want := range []string{
		"lectern: 10 mistakes in the configuration:\n", "LECTERN_MAX_VEIWERS", file + ":1: max-roms", file + ":2: ping-after", file + ":3: allow-origin",
		file + ":4: create-key and " + file + ":5: create-key-file", "LECTERN_API_KEY_FILE: open", "LECTERN_TRUSTED_PROXY: ", "--addr: ", "--workers must", "--echo must",
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("%q lacks %q", problems, want)
		}
	}
}

// TestNoKeyIsShown runs the relay with all keys and looks at everything that it
// shows.
func TestNoKeyIsShown(t *testing.T) {
	t.Setenv("LECTERN_CREATE_KEY", testCreateKey)
	t.Setenv("LECTERN_API_KEY_FILE", writeFile(t, "api.key", testAPIKey+"\n"))
	for _, args := range [][]string{{"serve", "--help"}, {"config", "--help"}, {"config"}, {"check"}, {"serve", "--addr=nonsense"}, {"serve", "--nonsense"}, {"version"},
		{"serve", "--create-key=" + otherKey}, {"serve", "--create-key", otherKey}} {
		out, problems, _ := lectern(t, nil, args...)
		leaks(t, strings.Join(args[:1], " "), out+problems)
	}

	b := startBinary(t, "--log-level=debug", "--pprof")
	c := dial(t, b.url("/"))
	say(t, c, `{"type":"create","key":"`+testCreateKey+`","name":5}`)
	hear(t, c)
	say(t, c, `{"type":"create","key":"`+testCreateKey+`"}`)
	if text := hear(t, c); !strings.Contains(text, `"created"`) {
		t.Errorf("the create key is refused: %s", text)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/heap?debug=1", "/debug/pprof/goroutine?debug=2", "/"} {
		response, err := http.Get("http://" + b.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		leaks(t, path, bodyOf(t, response))
	}
	cmdline, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(b.cmd.Process.Pid), "cmdline"))
	if err != nil || len(cmdline) == 0 {
		t.Errorf("%q, %v", cmdline, err)
	}
	leaks(t, "cmdline", string(cmdline))
	b.signal(syscall.SIGHUP)
	eventually(t, "the configuration is read again", func() bool { return strings.Contains(b.logged(), "was read again") })
	_ = c.CloseNow()
	b.signal(syscall.SIGTERM)
	b.wait(timeToEnd)
	leaks(t, "the log", b.logged())
}
