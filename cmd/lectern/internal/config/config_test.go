package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"lectern/cmd/lectern/internal/config/configtest"
)

// read reads the configuration of lectern serve.
func read(t testing.TB, file string, environ []string, flags ...string) (*Settings, error) {
	t.Helper()
	args := append([]string{"serve"}, flags...)
	if file != "" {
		args = append(args, "--config", configtest.WriteFile(t, "lectern.toml", file))
	}
	return readArgs(args, environ)
}

// readArgs reads the configuration of a whole command line.
func readArgs(args, environ []string) (*Settings, error) {
	var c struct {
		Serve struct{ Options } `cmd:""`
	}
	k, err := kong.New(&c, KongOptions()...)
	if err != nil {
		return nil, err
	}
	ctx, err := k.Parse(args)
	if err != nil {
		return nil, err
	}
	return NewCommandLine(ctx).Read(&c.Serve.Options, environ)
}

// TestPrecedence gives options of each type in all sources, and takes one
// source away after the other.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		flag, environment, file, standard string // the value in each
		inFile                            string
	}{
		"max-rooms":       {"1", "2", "3", "10000", "3"},
		"host-grace":      {"1s", "2s", "3s", "1m0s", `"3s"`},
		"addr":            {":1", ":2", ":3", "127.0.0.1:8765", `":3"`},
		"admin-addr":      {"", ":2", "", "127.0.0.1:8766", `""`},
		"pprof":           {"true", "false", "true", "false", "true"},
		"log-level":       {"debug", "warn", "error", "info", `"error"`},
		"log-format":      {"json", "text", "json", "text", `"json"`},
		"allow-origin":    {"[http://a:1]", "[http://b https://c]", "[http://d https://e]", "[]", `["http://d", "https://e"]`},
		"socket-mode":     {"0600", "0666", "0777", "0660", `"0777"`},
		"trusted-proxy":   {"[10.0.0.0/8 unix]", "[::1 1.2.3.4]", "[10.1.2.3]", "[]", `"10.1.2.3"`},
		"admin-host":      {"[a]", "[b.c d]", "[e f]", "[]", `["e", "f"]`},
		"max-connections": {"0", "7", "0", "20000", "0"},
		"drain-timeout":   {"1s", "7s", "0s", "0s", `"0s"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			list := strings.NewReplacer("[", "", "]", "", " ", ",")
			flag := "--" + name + "=" + list.Replace(c.flag)
			environ := []string{"HOME=/", "LECTERN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "=" + list.Replace(c.environment)}
			file := name + " = " + c.inFile + "\n"
			sources := []struct {
				file    string
				environ []string
				flags   []string
				value   string
				source  string // a pattern
			}{
				{file, environ, []string{flag}, c.flag, "^flag$"},
				{file, environ, nil, c.environment, "^environment LECTERN_[A-Z_]+$"},
				{file, nil, nil, c.file, `^file .*/lectern\.toml:1$`},
				{"", nil, nil, c.standard, "^default$"},
				{"", environ, []string{flag}, c.flag, "^flag$"},
				{"", environ, nil, c.environment, "^environment "},
				{file, nil, []string{flag}, c.flag, "^flag$"},
			}
			for _, source := range sources {
				s, err := read(t, source.file, source.environ, source.flags...)
				if err != nil {
					t.Fatal(err)
				}
				set := s.setting(name)
				if got := textValue(set); got != source.value || !regexp.MustCompile(source.source).MatchString(set.source.String()) {
					t.Errorf("%q from %q, want %q from %s", got, set.source, source.value, source.source)
				}
			}
		})
	}
}

func textValue(set *setting) string { return fmt.Sprint(set.target.Interface()) }

// TestZeroMeansTheDefault looks at every number and time.
func TestZeroMeansTheDefault(t *testing.T) {
	t.Parallel()
	own := map[string]bool{
		"workers": true, "max-connections": true, "host-rate": true, "send-buffer": true,
		"host-grace": true, "drain-timeout": true, "shutdown-delay": true, "compress-min": true,
	}
	standard, err := read(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range standard.all {
		name, zero := set.name, "0"
		switch set.target.Interface().(type) {
		case int:
		case time.Duration:
			zero = "0s"
		default:
			continue
		}
		s, err := read(t, "", nil, "--"+name+"="+zero)
		if err != nil {
			t.Fatal(err)
		}
		want := textValue(set)
		if own[name] {
			want = zero
		}
		if got := textValue(s.setting(name)); got != want {
			t.Errorf("--%s=%s is %s, want %s", name, zero, got, want)
		}
	}
}

// TestMistakes looks at what is refused, and whether the reason helps.
func TestMistakes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		file  string
		env   []string
		flags []string
		want  string // FILE stands for the file's path
	}{
		"unknown key":            {"addr = ':1'\nmax_rooms = 5", nil, nil, "FILE:2: max_rooms: there is no such option; did you mean max-rooms?"},
		"unknown, quoted":        {"'max rooms' = 5", nil, nil, "did you mean max-rooms?"},
		"unknown, nothing near":  {"q = 5", nil, nil, "FILE:1: q: there is no such option"},
		"table":                  {"\n[serve]\nmax-rooms = 5", nil, nil, "FILE:2: serve: there is no such option"},
		"dotted":                 {"max.rooms = 5", nil, nil, "FILE:1: max.rooms: there is no such option; did you mean max-rooms?"},
		"variable of a key":      {"", []string{"LECTERN_CREATE_KEYS=x"}, nil, "did you mean LECTERN_CREATE_KEY?"},
		"less than it needs":     {"lag-limit = 100", nil, nil, "FILE:1: lag-limit must be at least twice --max-host-message (1048576), not 100"},
		"unknown variable":       {"", []string{"LECTERN_MAX_ROMS=5"}, nil, "there is no variable LECTERN_MAX_ROMS; did you mean LECTERN_MAX_ROOMS?"},
		"string for an integer":  {"max-rooms = '5'", nil, nil, "FILE:1: max-rooms must be an integer, not a string"},
		"float for an integer":   {"max-rooms = 5.0", nil, nil, "FILE:1: max-rooms must be an integer, not a float"},
		"integer for a time":     {"\n\nping-after = 25", nil, nil, `FILE:3: ping-after must be a string like "1m30s", not an integer`},
		"idle before the ping":   {"ping-after = '1m'\nidle-timeout = '30s'", nil, nil, "FILE:2: idle-timeout must be longer than --ping-after (1m0s), not 30s"},
		"kernel's limit":         {"keep-alive = '20h'", nil, nil, "FILE:1: keep-alive must be between 1s and 32767s, not 20h0m0s"},
		"one probe only":         {"ping-after = '2m'\nidle-timeout = '5m'\nuser-timeout = '50s'", nil, nil, "FILE:3: user-timeout must be at least 55s, 10s longer than --keep-alive, not 50s"},
		"no probe in time":       {"ping-after = '27s'\nuser-timeout = '30s'", nil, nil, "FILE:2: user-timeout must be at least 55s"},
		"no unit":                {"ping-after = '25'", nil, nil, "FILE:1: ping-after: "},
		"string for a boolean":   {"pprof = 'yes'", nil, nil, "FILE:1: pprof must be true or false, not a string"},
		"array of integers":      {"allow-origin = [1]", nil, nil, "FILE:1: allow-origin must be a string or an array of strings, not one with an integer"},
		"date":                   {"addr = 2020-01-01", nil, nil, "FILE:1: addr must be a string, not a date or time"},
		"table for a string":     {"addr = {a = 1}", nil, nil, "FILE:1: addr must be a string, not a table"},
		"key that is no string":  {"create-key = 1234567890123456", nil, nil, "FILE:1: create-key must be a string"},
		"not TOML":               {"addr = ':1'\nmax-rooms 5", nil, nil, "FILE:2: "},
		"twice":                  {"max-rooms = 5\nmax-rooms = 5", nil, nil, "FILE:2: "},
		"not UTF-8":              {"addr = '\xff'", nil, nil, "FILE:1: "},
		"other file":             {"config = 'other'", nil, nil, "FILE:1: config: a file cannot name another one"},
		"out of range":           {"\nworkers = -1", nil, nil, "FILE:2: workers must be 0 or between 1 and 256, not -1"},
		"time out of range":      {"", []string{"LECTERN_ROOM_IDLE=25h"}, nil, "LECTERN_ROOM_IDLE must be between 100ms and 24h, not 25h0m0s"},
		"enumeration":            {"log-format = 'xml'", nil, nil, "FILE:1: log-format: must be one of text, json"},
		"level":                  {"", []string{"LECTERN_LOG_LEVEL=loud"}, nil, "LECTERN_LOG_LEVEL: must be debug, info, warn or error"},
		"port":                   {"addr = ':99999'", nil, nil, "FILE:1: addr: address 99999: invalid port"},
		"no port":                {"", []string{"LECTERN_ADMIN_ADDR=8766"}, nil, "LECTERN_ADMIN_ADDR: address 8766: missing port in address"},
		"origin with a path":     {"allow-origin = 'http://a/'", nil, nil, "FILE:1: allow-origin: \"http://a/\" is no origin"},
		"origin without scheme":  {"", nil, []string{"--allow-origin=example.org"}, "--allow-origin"},
		"origin, standard port":  {"", []string{"LECTERN_ALLOW_ORIGIN=https://a:443"}, nil, "browsers leave it out"},
		"origin with a user":     {"", []string{"LECTERN_ALLOW_ORIGIN=http://u@a"}, nil, "is no origin"},
		"origin, port missing":   {"", []string{"LECTERN_ALLOW_ORIGIN=http://a:"}, nil, "is no origin"},
		"second of two origins":  {"", []string{"LECTERN_ALLOW_ORIGIN=http://a,b"}, nil, `"b" is no origin`},
		"header of nobody":       {"proxy-protocol = true", nil, nil, "FILE:1: proxy-protocol needs --trusted-proxy"},
		"socket's path":          {"addr = 'unix:run/lectern.sock'", nil, nil, "FILE:1: addr must have an absolute path of at most 107 bytes after unix:, not \"run/lectern.sock\""},
		"socket's long path":     {"admin-addr = 'unix:/" + strings.Repeat("x", 107) + "'", nil, nil, "FILE:1: admin-addr must have an absolute path"},
		"same socket":            {"addr = 'unix:/s'\nadmin-addr = 'unix:/s'", nil, nil, "FILE:2: admin-addr must not be --addr"},
		"socket's mode":          {"socket-mode = '0999'", nil, nil, "FILE:1: socket-mode: \"0999\" is no mode: it must be like 0660"},
		"proxy":                  {"trusted-proxy = '10.0.0.0/33'", nil, nil, "FILE:1: trusted-proxy: \"10.0.0.0/33\" is neither an address nor a network"},
		"proxy's name":           {"", []string{"LECTERN_TRUSTED_PROXY=proxy"}, nil, "neither an address nor a network"},
		"proxy with a zone":      {"", []string{"LECTERN_TRUSTED_PROXY=fe80::1%eth0"}, nil, "neither an address nor a network"},
		"proxy, mapped, too big": {"", []string{"LECTERN_TRUSTED_PROXY=::ffff:1.2.3.4/80"}, nil, "write it as IPv4"},
		"no such file":           {"", []string{"LECTERN_CONFIG=/nonexistent/x.toml"}, nil, "LECTERN_CONFIG: open /nonexistent/x.toml: no such file"},
		"directory":              {"", nil, []string{"--config=/"}, "--config: read /: is a directory"},
		"endless file":           {"", nil, []string{"--config=/dev/zero"}, "--config: /dev/zero has more than 1048576 bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.toml")
			flags := append([]string{"serve"}, c.flags...)
			if c.file != "" {
				configtest.Rewrite(t, path, c.file)
				flags = append(flags, "--config", path)
			}
			_, err := readArgs(flags, c.env)
			if err == nil {
				t.Fatal("it is accepted")
			}
			want := strings.ReplaceAll(c.want, "FILE", path)
			if text := err.Error(); !strings.Contains(text, want) || c.want == "FILE:1: q: there is no such option" && strings.Contains(text, "did you mean") {
				t.Errorf("%q, want %q", text, want)
			}
		})
	}
}

// TestForeignVariables are those of a Kubernetes service that has the name.
func TestForeignVariables(t *testing.T) {
	t.Parallel()
	_, err := read(t, "", []string{
		"LECTERN_SERVICE_HOST=10.0.0.1", "LECTERN_SERVICE_PORT=8765", "LECTERN_SERVICE_PORT_WS=8765", "LECTERN_PORT=tcp://10.0.0.1:8765",
		"LECTERN_PORT_8765_TCP=tcp://10.0.0.1:8765", "LECTERN_PORT_8765_TCP_ADDR=10.0.0.1", "LECTERNS=", "lectern_x=",
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	cases := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"ab", "ba", 2},
	}
	for _, c := range cases {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
