package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"lectern/cmd/lectern/internal/config/configtest"
)

// openToAll is the warning about a relay that other machines reach and that has no
// create key.
const openToAll = "anybody who reaches the relay may create rooms: set LECTERN_CREATE_KEY or --create-key-file"

// TestConfigCommand: the printed configuration has the same meaning.
func TestConfigCommand(t *testing.T) {
	t.Parallel()
	file := configtest.WriteFile(t, "lectern.toml", "create-key = '"+configtest.CreateKey+"'\nhost-grace = '90s'\ntrusted-proxy = ['10.0.0.1', '::1']\nallow-origin = []\n")
	env := []string{"LECTERN_API_KEY=" + configtest.APIKey, "LECTERN_ALLOW_ORIGIN=http://a,http://b", "LECTERN_CONFIG=" + file}
	out, problems, exit := lectern(t, env, "config", "--max-rooms=5", "--admin-addr=")
	if exit != 0 {
		t.Fatalf("exit code %d: %s", exit, problems)
	}
	configtest.Leaks(t, "lectern config", out)
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
	again := configtest.WriteFile(t, "printed.toml", out)
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
	good := []string{"LECTERN_API_KEY=" + configtest.APIKey}
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
	file := configtest.WriteFile(t, "bad.toml", "max-roms = 5\nping-after = 25\nallow-origin = 'a'\ncreate-key = '"+configtest.CreateKey+"'\ncreate-key-file = 'x'\n")
	env := []string{"LECTERN_CONFIG=" + file, "LECTERN_MAX_VEIWERS=1", "LECTERN_API_KEY_FILE=/nonexistent/key", "LECTERN_TRUSTED_PROXY=me"}
	out, problems, exit = lectern(t, env, "check", "--addr=8765", "--workers=-1", "--echo=echo")
	if exit != 1 || out != "" {
		t.Errorf("exit code %d and %q", exit, out)
	}
	configtest.Leaks(t, "lectern check", problems)
	for _, want := range []string{
		"lectern: 10 mistakes in the configuration:\n", "LECTERN_MAX_VEIWERS", file + ":1: max-roms", file + ":2: ping-after", file + ":3: allow-origin",
		file + ":4: create-key and " + file + ":5: create-key-file", "LECTERN_API_KEY_FILE: open", "LECTERN_TRUSTED_PROXY: ", "--addr: ", "--workers must", "--echo must",
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("%q lacks %q", problems, want)
		}
	}
}

// TestNoKeyIsShown runs the relay with all keys, and looks for them in its outputs.
func TestNoKeyIsShown(t *testing.T) {
	t.Setenv("LECTERN_CREATE_KEY", configtest.CreateKey)
	t.Setenv("LECTERN_API_KEY_FILE", configtest.WriteFile(t, "api.key", configtest.APIKey+"\n"))
	for _, args := range [][]string{{"serve", "--help"}, {"config", "--help"}, {"config"}, {"check"}, {"serve", "--addr=nonsense"}, {"serve", "--nonsense"}, {"version"},
		{"serve", "--create-key=" + configtest.OtherKey}, {"serve", "--create-key", configtest.OtherKey}} {
		out, problems, _ := lectern(t, nil, args...)
		configtest.Leaks(t, strings.Join(args[:1], " "), out+problems)
	}

	b := startBinary(t, "--log-level=debug", "--pprof")
	c := dial(t, b.url("/"))
	say(t, c, `{"type":"create","key":"`+configtest.CreateKey+`","name":5}`)
	hear(t, c)
	say(t, c, `{"type":"create","key":"`+configtest.CreateKey+`"}`)
	if text := hear(t, c); !strings.Contains(text, `"created"`) {
		t.Errorf("the create key is refused: %s", text)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/heap?debug=1", "/debug/pprof/goroutine?debug=2", "/"} {
		response, err := http.Get("http://" + b.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		configtest.Leaks(t, path, bodyOf(t, response))
	}
	cmdline, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(b.cmd.Process.Pid), "cmdline"))
	if err != nil || len(cmdline) == 0 {
		t.Errorf("%q, %v", cmdline, err)
	}
	configtest.Leaks(t, "cmdline", string(cmdline))
	b.signal(syscall.SIGHUP)
	eventually(t, "the configuration is read again", func() bool { return strings.Contains(b.logged(), "was read again") })
	_ = c.CloseNow()
	b.signal(syscall.SIGTERM)
	b.wait(timeToEnd)
	configtest.Leaks(t, "the log", b.logged())
}
