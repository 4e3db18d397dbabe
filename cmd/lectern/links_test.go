package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinks follows each link from one page of the project to another, to its
// heading if it names one.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "PROTOCOL.md", "DESIGN.md", monitoring + "README.md"} {
		pages = append(pages, filepath.Join(root, name))
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, from := range pages {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			target, anchor, _ := strings.Cut(found[1], "#")
			to := from
			if target != "" {
				to = filepath.Join(filepath.Dir(from), target)
			}
			there, err := os.ReadFile(to)
			if err != nil {
				t.Errorf("%s: %v", from, err)
			} else if anchor != "" && !hasHeading(string(there), anchor) {
				t.Errorf("%s: %s has no heading #%s", from, to, anchor)
			}
		}
	}
}

// hasHeading reports whether a page has a heading with the anchor that GitHub
// gives it.
func hasHeading(text, anchor string) bool {
	heading := regexp.MustCompile("(?m)^#+ (.*)$")
	silent := regexp.MustCompile("[^a-z0-9 _-]")
	for _, found := range heading.FindAllStringSubmatch(text, -1) {
		plain := silent.ReplaceAllString(strings.ToLower(found[1]), "")
		if strings.ReplaceAll(plain, " ", "-") == anchor {
			return true
		}
	}
	return false
}
