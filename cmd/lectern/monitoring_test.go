package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/e2e"
)

const monitoring = "docs/monitoring/"

// A query is PromQL, and where it stands.
type query struct{ where, text string }

// TestMonitoringNamesMetricsThatExist: the relay has each metric, each label and each
// label's value that the dashboard and the alerts name.
func TestMonitoringNamesMetricsThatExist(t *testing.T) {
	t.Parallel()
	there := readSamples(readMetrics(t, e2e.Secure()...))
	queries := append(dashboardQueries(t), alertQueries(t)...)
	if len(queries) < 50 {
		t.Fatalf("found only %d queries", len(queries))
	}
	for _, q := range queries {
		for _, problem := range there.problems(q.text) {
			t.Errorf("%s: %s in %s", q.where, problem, q.text)
		}
	}
	for _, wrong := range []string{
		`sum(lectern_viewer)`, `rate(lectern_closes_total{cause="lost"}[5m])`, `lectern_closes_total{reason=~"lost|gone"}`,
		`sum by (phase) (lectern_viewers)`, `lectern_slow_viewers_total{cause=~"lag",outcome="left"}`,
	} {
		if len(there.problems(wrong)) != 1 {
			t.Errorf("%s: found %q", wrong, there.problems(wrong))
		}
	}
}

// TestDashboardIsWhole: each panel has an id of its own, a description, a unit, and
// the data source that its reader chooses.
func TestDashboardIsWhole(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	ids := make(map[int]bool)
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d, %q, has a double id or no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("the panel %q lacks a description, a unit, a query or the variable of the data source", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `instance=~"$instance"`) {
				t.Errorf("the panel %q does not ask for the relay that its reader chooses: %s", p.Title, target.Expr)
			}
		}
	}
	if d.SchemaVersion < 38 || len(ids) < 20 {
		t.Errorf("schema version %d, %d panels", d.SchemaVersion, len(ids))
	}
}

// TestAlertsSayWhatToDo: each has a time, a severity, a summary and an action, and is
// in the tests of the rules.
func TestAlertsSayWhatToDo(t *testing.T) {
	t.Parallel()
	tests := page(t, monitoring+"alerts_test.yml")
	rules := strings.Split(page(t, monitoring+"alerts.yml"), "\n      - alert: ")[1:]
	if len(rules) < 10 {
		t.Fatalf("found only %d rules", len(rules))
	}
	for _, rule := range rules {
		name, _, _ := strings.Cut(rule, "\n")
		for _, part := range []string{"        expr: ", "        for: ", "          severity: ", "          summary: ", "          action: "} {
			if strings.Count(rule, "\n"+part) != 1 {
				t.Errorf("%s lacks %s", name, strings.TrimSpace(part))
			}
		}
		if !strings.Contains(tests, "alertname: "+name+"\n        exp_alerts:\n") {
			t.Errorf("no test shows that %s fires", name)
		}
		if !strings.Contains(tests, "alertname: "+name+"}") {
			t.Errorf("no test shows that %s can be silent", name)
		}
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	t.Parallel()
	promtool := findPromtool(t)
	for _, arguments := range [][]string{
		{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}, {"check", "config", "prometheus.yml"},
	} {
		cmd := exec.Command(promtool, arguments...)
		cmd.Dir = filepath.Join(root, monitoring)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
}

// findPromtool returns Prometheus' promtool. Where it is not installed, the install script
// unpacks it beside the clients.
func findPromtool(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"promtool", filepath.Join(root, "cmd/lectern/internal/e2e/testdata/clients/promtool")} {
		if path, err := exec.LookPath(name); err == nil {
			path, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	e2e.Missing(t, "no promtool here (Debian: prometheus)")
	return ""
}

// A dashboard is what the tests read of dashboard.json.
type dashboard struct {
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Definition string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		FieldConfig              struct{ Defaults struct{ Unit string } }
		Targets                  []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(page(t, monitoring+"dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func dashboardQueries(t *testing.T) (all []query) {
	d := readDashboard(t)
	for _, v := range d.Templating.List {
		if labels := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(v.Definition); labels != nil {
			all = append(all, query{"the variable " + v.Name, "sum by (" + labels[2] + ") (" + labels[1] + ")"})
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, query{"the panel " + p.Title, target.Expr})
		}
	}
	return all
}

func alertQueries(t *testing.T) (all []query) {
	rule := regexp.MustCompile(`(?s)- alert: (\w+)\n +expr: (?:>-\n)?(.*?)\n +for:`)
	for _, found := range rule.FindAllStringSubmatch(page(t, monitoring+"alerts.yml"), -1) {
		all = append(all, query{"the alert " + found[1], found[2]})
	}
	return all
}

// samples has the values of each label of each metric.
type samples map[string]map[string][]string

// readSamples reads what /metrics serves. Prometheus itself adds the rest.
func readSamples(text string) samples {
	all := samples{"up": {"job": nil, "instance": nil}}
	for _, found := range regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		if all[found[1]] == nil {
			all[found[1]] = map[string][]string{"job": nil, "instance": nil}
		}
		for _, l := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(found[2], -1) {
			all[found[1]][l[1]] = append(all[found[1]][l[1]], l[2])
		}
	}
	return all
}

var (
	matchersPattern = regexp.MustCompile(`(\w+)\{([^}]*)\}`)
	matcherPattern  = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"([^"]*)"`)
	groupsPattern   = regexp.MustCompile(`\b(?:by|on|without|ignoring) \(([^)]*)\)`)
	namePattern     = regexp.MustCompile(`[a-zA-Z_]\w*`)
	rangePattern    = regexp.MustCompile(`\[[^]]*\]|\{[^}]*\}`)
)

// notMetrics are the other words of PromQL.
var notMetrics = []string{
	"sum", "min", "max", "count", "rate", "increase", "changes", "histogram_quantile", "max_over_time", "by", "on", "and", "or", "unless",
}

// problems returns what a query names and the relay does not have.
func (all samples) problems(query string) (problems []string) {
	labels := make(map[string]bool) // of all metrics in the query
	bare := groupsPattern.ReplaceAllString(rangePattern.ReplaceAllString(query, ""), "")
	for _, name := range namePattern.FindAllString(bare, -1) {
		if slices.Contains(notMetrics, name) {
			continue
		}
		if all[name] == nil {
			problems = append(problems, "there is no metric "+name)
		}
		for label := range all[name] {
			labels[label] = true
		}
	}
	for _, found := range groupsPattern.FindAllStringSubmatch(query, -1) {
		for _, label := range namePattern.FindAllString(found[1], -1) {
			if !labels[label] {
				problems = append(problems, "no metric has the label "+label)
			}
		}
	}
	for _, found := range matchersPattern.FindAllStringSubmatch(query, -1) {
		for _, matcher := range matcherPattern.FindAllStringSubmatch(found[2], -1) {
			values, ok := all[found[1]][matcher[1]]
			if !ok {
				problems = append(problems, found[1]+" has no label "+matcher[1])
				continue
			}
			for _, value := range strings.Split(matcher[2], "|") {
				if values != nil && !slices.Contains(values, value) {
					problems = append(problems, found[1]+" has no "+matcher[1]+" "+value)
				}
			}
		}
	}
	return problems
}

// TestMonitoringFilesAreNamed: the page in the folder tells of each file.
func TestMonitoringFilesAreNamed(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join(root, monitoring))
	if err != nil {
		t.Fatal(err)
	}
	text := page(t, monitoring+"README.md")
	for _, e := range entries {
		if e.Name() != "README.md" && !strings.Contains(text, "]("+e.Name()+")") {
			t.Errorf("the page does not tell of %s", e.Name())
		}
	}
}
