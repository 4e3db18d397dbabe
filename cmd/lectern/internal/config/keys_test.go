package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/config/configtest"
)

// TestCreateKeySources sets the create key wherever it can be.
func TestCreateKeySources(t *testing.T) {
	t.Parallel()
	file := configtest.WriteFile(t, "create.key", configtest.CreateKey+"\n")
	other := configtest.WriteFile(t, "other.key", configtest.OtherKey+"\r\n")
	cases := map[string]struct {
		file  string
		env   []string
		flags []string
		want  string // the create key
		from  string // the beginning of its source
	}{
		"none":                    {"", nil, nil, "", "default"},
		"variable":                {"", []string{"LECTERN_CREATE_KEY=" + configtest.CreateKey}, nil, configtest.CreateKey, "environment LECTERN_CREATE_KEY"},
		"file by a flag":          {"", nil, []string{"--create-key-file", file}, configtest.CreateKey, "flag"},
		"file by a variable":      {"", []string{"LECTERN_CREATE_KEY_FILE=" + other}, nil, configtest.OtherKey, "environment LECTERN_CREATE_KEY_FILE"},
		"file by the file":        {"create-key-file = '" + file + "'", nil, nil, configtest.CreateKey, "file "},
		"in the file":             {"create-key = '" + configtest.CreateKey + "'", nil, nil, configtest.CreateKey, "file "},
		"flag before variable":    {"", []string{"LECTERN_CREATE_KEY=" + configtest.CreateKey}, []string{"--create-key-file", other}, configtest.OtherKey, "flag"},
		"variable before file":    {"create-key-file = '" + file + "'", []string{"LECTERN_CREATE_KEY=" + configtest.OtherKey}, nil, configtest.OtherKey, "environment "},
		"variable's file, before": {"create-key = '" + configtest.CreateKey + "'", []string{"LECTERN_CREATE_KEY_FILE=" + other}, nil, configtest.OtherKey, "environment "},
		"spaces":                  {"", []string{"LECTERN_CREATE_KEY=correct horse battery"}, nil, "correct horse battery", "environment "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := read(t, c.file, c.env, c.flags...)
			if err != nil {
				t.Fatal(err)
			}
			if s.createKey.value.Reveal() != c.want || !strings.HasPrefix(s.createKey.source.String(), c.from) || s.apiKey.value.IsSet() {
				t.Errorf("got %q from %s", s.createKey.value.Reveal(), s.createKey.source)
			}
		})
	}
}

// TestBadKeys looks at what is refused. The reason must not show the key.
func TestBadKeys(t *testing.T) {
	t.Parallel()
	short := strings.Repeat("s", minKey-1)
	file := func(text string) string { return configtest.WriteFile(t, "bad.key", text) }
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
	_, err := read(t, "", []string{"LECTERN_API_KEY=" + configtest.APIKey, "LECTERN_API_KEY_FILE=x"})
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
	s, err := read(t, "create-key = '"+configtest.CreateKey+"'", []string{"LECTERN_API_KEY=" + configtest.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v %+v %#v %v %q %x", *s, *s, *s, s.apiKey, s.createKey.value, s.apiKey.value)
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))} {
		log.Info("settings", "all", s.createKey, "key", s.apiKey.value)
	}
	if err := json.NewEncoder(&b).Encode(map[string]any{"key": s.apiKey.value}); err != nil {
		t.Fatal(err)
	}
	configtest.Leaks(t, "a print", b.String())
	if !strings.Contains(b.String(), secretMask) {
		t.Error("there is no mask")
	}
}
