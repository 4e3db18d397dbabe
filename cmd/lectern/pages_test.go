package main

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"lectern/hub"
	"lectern/hub/classroom"
)

// tableRows returns the rows of a page's tables by their first cell, in which
// code is marked.
func tableRows(text string) map[string][]string {
	rows := make(map[string][]string)
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		first := strings.TrimSpace(cells[0])
		if strings.HasPrefix(line, "| `") && len(cells) > 1 {
			rows[strings.Trim(first, "`")] = cells[1:]
		}
	}
	return rows
}

// The pages that describe what the tests here look for.
const (
	configurationPage = "docs/configuration.md"
	operatingPage     = "docs/operating.md"
)

// TestPagesTellTheFlags compares the tables of flags with their declaration.
func TestPagesTellTheFlags(t *testing.T) {
	flags := make(map[string]*kong.Flag)
	rows := tableRows(page(t, configurationPage))
	for _, flag := range serveFlags(t) {
		if flag.Name == "help" {
			continue
		}
		flags["--"+flag.Name] = flag
		row := rows["--"+flag.Name]
		if row == nil {
			t.Errorf("%s lacks --%s", configurationPage, flag.Name)
		} else if got := strings.Contains(row[1], "↻"); got != flag.Tag.Has("restart") {
			t.Errorf("%s: that --%s is read only at the start: %t", configurationPage, flag.Name, got)
		}
	}
	for _, name := range []string{configurationPage, "PROTOCOL.md"} {
		for row, cells := range tableRows(page(t, name)) {
			if !strings.HasPrefix(row, "--") {
				continue
			}
			flag := flags[row]
			if flag == nil {
				t.Errorf("%s has a flag %s, which there is not", name, row)
				continue
			}
			if got, want := strings.TrimSpace(cells[0]), shownDefault(flag); got != want {
				t.Errorf("%s: the default of %s is %s, not %s", name, row, want, got)
			}
		}
	}
}

func shownDefault(flag *kong.Flag) string {
	switch {
	case flag.Default != "":
		return "`" + flag.Default + "`"
	case flag.IsBool():
		return "`false`"
	default:
		return "none"
	}
}

// readMetrics returns what a relay of its own serves at /metrics.
func readMetrics(t *testing.T, flags ...string) string {
	t.Helper()
	b := startBinary(t, flags...)
	response, err := http.Get("http://" + b.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// histograms replaces the samples of each of the relay's histograms by one sample with its name.
func histograms(metrics string) string {
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (lectern_\w+) histogram$`).FindAllStringSubmatch(metrics, -1) {
		samples := regexp.MustCompile(`(?m)^` + found[1] + `_(bucket\{.*|sum .*|count .*)\n`)
		metrics = samples.ReplaceAllString(metrics, "") + "\n" + found[1] + " 0\n"
	}
	return metrics
}

func TestPagesTellTheMetrics(t *testing.T) {
	t.Parallel()
	body := readMetrics(t)
	served := regexp.MustCompile(`(?m)^(lectern_[a-z_]+)(\{.*\})?`).FindAllStringSubmatch(histograms(body), -1)
	values := regexp.MustCompile(`="[^"]*"`)
	names := make(map[string]bool)
	for _, sample := range served {
		names[sample[1]+values.ReplaceAllString(sample[2], "")] = true
	}
	if len(names) < 10 {
		t.Fatalf("only %d metrics", len(names))
	}
	names["lectern_certificate_expiry_seconds{name}"] = true // a relay without TLS has no certificate
	operating := page(t, operatingPage)
	rows := tableRows(operating)
	for name := range names {
		if rows[name] == nil {
			t.Errorf("%s lacks %s", operatingPage, name)
		}
	}
	for row := range rows {
		if strings.HasPrefix(row, "lectern_") && !names[row] {
			t.Errorf("%s has a metric %s, which there is not", operatingPage, row)
		}
	}
	for _, why := range hub.Reasons() {
		if !strings.Contains(operating, "`"+why.String()+"`") {
			t.Errorf("%s lacks the reason %s", operatingPage, why)
		}
	}
}

// TestProtocolPage compares the page with the types that clients may send, and with the
// codes of errors.
func TestProtocolPage(t *testing.T) {
	text := page(t, "PROTOCOL.md")
	types, errors := protocolNames(t)
	if len(types) < 7 || len(errors) < 10 {
		t.Fatalf("found only the types %q and the errors %q", types, errors)
	}
	for _, name := range types {
		if !strings.Contains(text, `{"type":"`+name+`"`) {
			t.Errorf("PROTOCOL.md lacks the type %s", name)
		}
	}
	_, section, _ := strings.Cut(text, "\n## Errors")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := tableRows(section)
	for _, name := range errors {
		if rows[name] == nil {
			t.Errorf("PROTOCOL.md lacks the error %s", name)
		}
	}
	for row := range rows {
		if !slices.Contains(errors, row) {
			t.Errorf("PROTOCOL.md has an error %s, which there is not", row)
		}
	}
}

// protocolNames returns the types that clients may send, and the codes of all errors.
func protocolNames(*testing.T) (types, errors []string) {
	return classroom.Types(), append(hub.RefusalCodes(), hub.OriginNotAllowed.Code())
}
