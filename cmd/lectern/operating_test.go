package main

import (
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/config/configtest"
)

// TestFirstServer follows the chapter for whoever has never run a server: the relay
// takes the configuration, the commands parse, and what one looks at exists.
func TestFirstServer(t *testing.T) {
	t.Parallel()
	_, chapter, _ := strings.Cut(page(t, operatingPage), "\n## 800 students in fifteen minutes\n")
	chapter, _, ok := strings.Cut(chapter, "\n## ")
	_, file, shown := strings.Cut(chapter, "```toml\n")
	file, _, _ = strings.Cut(file, "```")
	if !ok || !shown {
		t.Fatal("the chapter, or its configuration, is not there")
	}
	s, err := read(t, file, nil)
	if err != nil || len(s.Domain) != 1 || s.Domain[0] != "relay.school.example" || len(s.AllowOrigin) != 1 {
		t.Errorf("%v: %v", err, s)
	}

	commands := regexp.MustCompile(`(?m)^    [#$] lectern (.*)$`).FindAllStringSubmatch(chapter, -1)
	if len(commands) < 2 {
		t.Fatalf("found only the commands %q", commands)
	}
	for _, command := range commands {
		key := configtest.WriteFile(t, "create.key", "create-0123456789abcdef")
		line := regexp.MustCompile(`[^ ]*create\.key`).ReplaceAllString(command[1], key)
		line = strings.ReplaceAll(line, "/etc/lectern/lectern.toml", configtest.WriteFile(t, "lectern.toml", file))
		var c cli
		if _, err := newParser(&c).Parse(strings.Fields(line)); err != nil {
			t.Errorf("lectern %s: %v", command[1], err)
		}
	}

	b := startBinary(t)
	response, err := http.Get("http://" + b.addr + "/health/ready")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || !strings.Contains(chapter, "/health/ready") {
		t.Errorf("/health/ready is answered %s", response.Status)
	}
	watch := regexp.MustCompile(`watch "curl -s 127\.0\.0\.1:8766(/metrics \| grep .*)"\n`).FindStringSubmatch(chapter)
	if watch == nil {
		t.Fatal("the chapter does not look at the metrics")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here")
	}
	out, err := exec.Command("sh", "-c", "curl -s "+b.admin+watch[1]).Output()
	if lines := strings.Count(string(out), "\n"); err != nil || lines != 4 {
		t.Errorf("%v: one sees %d metrics: %s", err, lines, out)
	}
}
