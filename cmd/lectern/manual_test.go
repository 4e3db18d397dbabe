package main

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/manual"
)

func testManual(t *testing.T) manual.Manual {
	t.Helper()
	return newManual(newParser(new(cli)))
}

// TestTheManualPage names every flag of serve, and man has nothing to warn of.
func TestTheManualPage(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	if err := testManual(t).WritePage(&page); err != nil {
		t.Fatal(err)
	}
	for _, flag := range serveFlags(t) {
		name := strings.ReplaceAll(flag.Name, "-", `\-`)
		if flag.Name != "help" && !strings.Contains(page.String(), "\n.B \\-\\-"+name) {
			t.Errorf("the page lacks --%s", flag.Name)
		}
	}
	for line := range strings.Lines(page.String()) {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !slices.Contains([]string{".TH", ".SH", ".SS", ".TP", ".B", ".BR", ".I"}, strings.Fields(line)[0]) {
			t.Errorf("a line is a request that it should not be: %s", line)
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		return
	}
	command := exec.Command("groff", "-man", "-ww", "-z")
	command.Stdin = &page
	if said, err := command.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("groff: %v: %s", err, said)
	}
}

// TestCompletion asks the shells that are here.
func TestCompletion(t *testing.T) {
	t.Parallel()
	ask := map[string]func(script string, words []string) []string{
		"bash": func(script string, words []string) []string {
			script += "\nCOMP_WORDS=(\"$@\") COMP_CWORD=$(($#-1)); _lectern; printf '%s\\n' \"${COMPREPLY[@]}\""
			return append([]string{"--norc", "-c", script, "bash"}, words...)
		},
		"fish": func(script string, words []string) []string {
			return []string{"--no-config", "-c", script + "\ncomplete -C '" + strings.Join(words, " ") + "'"}
		},
		"zsh": func(script string, words []string) []string { // with what _describe would get
			show := "compadd() { print -l -- $@ }\n_files() { }\n_describe() { print -l -- ${choices%%:*} }\n"
			script = show + strings.TrimSuffix(script, "_lectern \"$@\"\n") + "words=(\"$@\") CURRENT=$#\n_lectern"
			return append([]string{"-f", "-c", script, "zsh"}, words...)
		},
	}
	cases := []struct {
		words []string
		want  string // among the answers
		not   string // not among them
	}{
		{[]string{"lectern", ""}, "serve", "fanout"},
		{[]string{"lectern", "bench", ""}, "fanout", "serve"},
		{[]string{"lectern", "serve", "--max"}, "--max-rooms", "--max-p99"},
		{[]string{"lectern", "bench", "fanout", "--max"}, "--max-p99", "--max-rooms"},
		{[]string{"lectern", "serve", "--codes", ""}, "hex6", "--codes"},
		{[]string{"lectern", "serve", "--max-rooms", "5", "--log-format", ""}, "json", "serve"},
	}
	for _, shell := range manual.Shells() {
		var script bytes.Buffer
		if err := testManual(t).WriteCompletion(&script, shell); err != nil {
			t.Fatal(err)
		}
		for _, flag := range serveFlags(t) {
			if !strings.Contains(script.String(), flag.Name) {
				t.Errorf("%s: --%s is not completed", shell, flag.Name)
			}
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("no %s here: its script was not tried", shell)
			continue
		}
		for _, c := range cases {
			said, err := exec.Command(shell, ask[shell](script.String(), c.words)...).CombinedOutput()
			var answers []string
			for line := range strings.Lines(string(said)) {
				word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				answers = append(answers, word)
			}
			if err != nil || !slices.Contains(answers, c.want) || slices.Contains(answers, c.not) {
				t.Errorf("%s: %q is completed with %.300q, %v, want %s and not %s", shell, c.words, said, err, c.want, c.not)
			}
		}
	}
	if err := testManual(t).WriteCompletion(&bytes.Buffer{}, "csh"); err == nil {
		t.Error("there is completion for csh")
	}
}
