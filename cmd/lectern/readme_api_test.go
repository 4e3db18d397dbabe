package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// chance are the parts of an answer that are others each time.
var chance = regexp.MustCompile(`("(?:created|token|bytes)":)("[^"]*"|[0-9]+)`)

// TestAPITutorial does with curl what the page on the HTTP API says, in a shell,
// and sees what it shows. Only the relay's port, the code, tokens and times are
// others; three dots stand for anything.
func TestAPITutorial(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "curl")
	}
	t.Parallel()
	text := page(t, "docs/http-api.md")
	b := startAPI(t)
	shell := openTerminal(t, "LECTERN_API_KEY="+testKey+" exec sh", "NONE=")
	commands, answers, code := 0, 0, shownCode
	for block := range strings.SplitSeq(text, "\n```console api\n") {
		block, _, fenced := strings.Cut(block, "\n```")
		if !fenced || !strings.HasPrefix(block, "$ ") {
			continue
		}
		for line := range strings.SplitSeq(block, "\n") {
			line = strings.ReplaceAll(line, shownCode, code)
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				shell.write(strings.ReplaceAll(command, "localhost:8765", b.addr))
				commands++
				continue
			}
			got := shell.read()
			if found := regexp.MustCompile(`"code":"([0-9A-Z]{4}-[0-9A-Z]{4})"`).FindStringSubmatch(got); code == shownCode && found != nil {
				code = found[1]
				line = strings.ReplaceAll(line, shownCode, code)
			}
			want := regexp.QuoteMeta(chance.ReplaceAllString(line, "$1*"))
			want = "^" + strings.ReplaceAll(want, `\.\.\.`, ".*") + "$"
			if got := chance.ReplaceAllString(got, "$1*"); !regexp.MustCompile(want).MatchString(got) {
				t.Fatalf("the terminal shows\n%s\nthe page\n%s", got, line)
			}
			answers++
		}
	}
	if commands < 12 || answers < 12 || code == shownCode {
		t.Errorf("%d commands and %d lines of answers, with the code %s", commands, answers, code)
	}
}
