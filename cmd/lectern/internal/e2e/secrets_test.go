package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// outside asks the HTTP API for everything about a lesson, also for what it refuses, and
// keeps the answers like messages to a pupil.
func (l *lesson) outside() {
	l.t.Helper()
	api := l.enrol(nil)
	ask := func(method, url, key, body string) {
		l.t.Helper()
		ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			l.t.Fatal(err)
		}
		if key != "" {
			request.Header.Set("Authorization", "Bearer "+key)
		}
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			l.t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			l.t.Fatal(err)
		}
		var created struct{ Data struct{ Token string } }
		if json.Unmarshal(text, &created) == nil && response.StatusCode == http.StatusCreated {
			l.tokens = append(l.tokens, created.Data.Token)
			text = bytes.ReplaceAll(text, []byte(created.Data.Token), nil) // its own, to its owner
		}
		api.told = append(api.told, string(text))
		for name, values := range response.Header {
			api.told = append(api.told, name+": "+strings.Join(values, ", "))
		}
	}
	base := "http://" + l.b.addr
	rooms := base + "/v1/api/rooms"
	ask(http.MethodPost, rooms, l.apiKey, `{"secret":"`+l.secret+`","name":"made outside"}`)
	for _, key := range []string{l.apiKey, "", "a wrong key"} {
		ask(http.MethodGet, rooms, key, "")
		ask(http.MethodGet, rooms+"/"+l.code, key, "")
		ask(http.MethodGet, rooms+"/nowhere", key, "")
		ask(http.MethodGet, base+"/v1/api/summary", key, "")
		ask(http.MethodPost, rooms, key, `{"secret":"`+l.secret+`","max_viewers":-1}`)
		ask(http.MethodPost, rooms, key, `{"secret":"`+l.secret+`","broken`)
		ask(http.MethodPost, rooms+"/"+l.code+"/broadcast", key, `{"data":1}`)
	}
	ask(http.MethodGet, base+"/v1/api/openapi.json", l.apiKey, "")
	ask(http.MethodGet, base+"/?key=nothing", "", "")
	for _, path := range []string{"/metrics", "/health/live", "/health/ready"} {
		ask(http.MethodGet, "http://"+l.b.admin+path, "", "")
	}
	var list struct {
		Data struct{ Rooms []struct{ Code, Name string } }
	}
	ask(http.MethodGet, rooms, l.apiKey, "")
	for _, text := range api.told {
		if json.Unmarshal([]byte(text), &list) == nil {
			for _, room := range list.Data.Rooms {
				if room.Name == "made outside" {
					ask(http.MethodDelete, rooms+"/"+room.Code, l.apiKey, "")
					return
				}
			}
		}
	}
	l.t.Error("the room that was made over HTTP is not listed")
}

// tellsNoSecrets looks for secrets, tokens and keys in everything that the relay has
// sent.
func (l *lesson) tellsNoSecrets() {
	l.t.Helper()
	secrets := append([]string{l.createKey, l.apiKey, l.secret, "a wrong key", "a wrong secret"}, l.tokens...)
	if len(l.tokens) < 10 {
		l.t.Errorf("only %d tokens were told", len(l.tokens))
	}
	texts := 0
	check := func(where, text string, but ...string) {
		texts++
		for _, s := range but {
			text = strings.ReplaceAll(text, s, "")
		}
		for _, s := range secrets {
			if strings.Contains(text, s) {
				l.t.Errorf("%s tells %q: %.500s", where, s, text)
			}
		}
	}
	for _, p := range l.everybody {
		for _, text := range p.told {
			var m message
			_ = json.Unmarshal([]byte(text), &m)
			switch m.Type {
			case "created", "joined", "host":
				check(m.Type, text, m.Token) // its own, to its owner
			default:
				check("an answer", text)
			}
		}
	}
	l.b.signal(syscall.SIGINT)
	l.b.wait(20 * time.Second)
	log := l.b.logged()
	if !strings.Contains(log, `"level":"INFO"`) {
		l.t.Errorf("the log is %q", log)
	}
	check("the log", log)
	env := []string{"LECTERN_CREATE_KEY=" + l.createKey, "LECTERN_API_KEY=" + l.apiKey}
	for _, args := range [][]string{{"config"}, {"check"}, {"serve", "--help"}, {"--help"}, {"serve", "--nonsense"}, {"serve", "--addr=nowhere"}, {"config", "--nonsense"}} {
		stdout, stderr, _ := lectern(l.t, env, args...)
		if stdout+stderr == "" {
			l.t.Errorf("lectern %v tells nothing", args)
		}
		check("lectern "+strings.Join(args, " "), stdout+stderr)
	}
	l.t.Logf("looked for %d secrets in %d texts", len(secrets), texts)
}
