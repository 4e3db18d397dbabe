package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's folder, seen from this package's.
const root = "../.."

// internal is where the command keeps packages of its own.
const internal = "cmd/lectern/internal/"

// borders say what each package may not import, and which of our own it may.
// What is forbidden is so with everything below it.
var borders = map[string]struct {
	ours      []string
	forbidden []string
}{
	"cmd/lectern":          {ours: []string{"bench/engine", "bench/report", "bench/scenario", "bench/team", "bench/workload", "frame", "hub", "hub/budget", "hub/classroom", "hub/echo", "hub/store", "netpoll", "netpoll/tlstransport", internal + "certificates", internal + "config", internal + "httpapi", internal + "manual", internal + "metrics", internal + "proxyproto", internal + "resources", internal + "systemd"}},
	"bench/engine":         {ours: []string{"bench/clock", "bench/report", "bench/server", "bench/stamp", "bench/usage", "bench/wire", "bench/workload", "frame", "netpoll", "netpoll/tlstransport"}},
	"bench/scenario":       {ours: []string{"bench/engine", "bench/report", "bench/usage", "bench/workload", "frame"}},
	"bench/team":           {ours: []string{"bench/clock", "bench/engine", "bench/report", "bench/scenario", "bench/workload"}},
	"bench/clock":          {ours: []string{"bench/workload"}, forbidden: []string{"net"}},
	"bench/server":         {ours: []string{"bench/workload", "netpoll/selfsigned"}},
	"bench/usage":          {ours: []string{"bench/report"}, forbidden: []string{"net"}},
	"bench/report":         {ours: []string{"bench/workload"}, forbidden: []string{"net", "golang.org/x/sys"}},
	"bench/workload":       {ours: []string{"bench/stamp"}},
	"bench/stamp":          {forbidden: []string{"net", "os", "syscall", "time", "sync"}},
	"bench/wire":           {ours: []string{"frame"}},
	"netpoll/selfsigned":   {},
	"netpoll":              {},
	"netpoll/tlstransport": {ours: []string{"netpoll", "netpoll/tlsrecord"}},
	"netpoll/tlsrecord":    {forbidden: []string{"os", "syscall", "golang.org/x/sys", "sync"}},
	"hub":                  {ours: []string{"frame", "hub/address", "hub/attempts", "hub/broadcast", "hub/budget", "hub/credentials", "hub/origin", "hub/refusals", "hub/registry", "hub/roomcode", "hub/roster", "hub/turnstile"}, forbidden: []string{"encoding/json", "net", "os", "syscall", "golang.org/x/sys"}},
	"hub/classroom":        {ours: []string{"frame", "hub", "hub/broadcast", "hub/strictjson"}, forbidden: []string{"net", "os", "syscall", "golang.org/x/sys"}},
	"hub/echo":             {ours: []string{"frame", "hub"}, forbidden: []string{"net", "os", "syscall", "golang.org/x/sys"}},
	"hub/store":            {ours: []string{"frame", "hub", "hub/broadcast"}, forbidden: []string{"net"}},
	"hub/budget":           {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time"}},
	"hub/registry":         {ours: []string{"hub/roomcode"}, forbidden: []string{"net", "os", "syscall", "golang.org/x/sys"}},
	"hub/credentials":      {ours: []string{"hub/roomcode"}, forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time"}},
	"hub/origin":           {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time", "sync"}},
	"hub/refusals":         {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time"}},
	"hub/turnstile":        {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time"}},
	"hub/address":          {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time"}},
	"hub/attempts":         {ours: []string{"hub/address", "hub/roomcode"}, forbidden: []string{"net", "os", "syscall", "golang.org/x/sys"}},
	"hub/roomcode":         {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time", "sync"}},
	"hub/roster":           {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time"}},
	"hub/strictjson":       {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time", "sync"}},
	"hub/broadcast":        {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys"}},
	"frame":                {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time", "sync", "context"}},

	internal + "certificates":          {forbidden: []string{"golang.org/x/sys"}},
	internal + "certificates/acmetest": {ours: []string{"netpoll/selfsigned"}}, // for tests
	internal + "config":                {forbidden: []string{"net/http", "golang.org/x/sys"}},
	internal + "config/configtest":     {}, // for tests
	internal + "httpapi":               {ours: []string{"frame", "hub", "hub/budget", "hub/classroom", "hub/strictjson"}, forbidden: []string{"golang.org/x/sys", "syscall"}},
	internal + "httpapi/apitest":       {ours: []string{"hub"}}, // for tests
	internal + "metrics":               {ours: []string{"hub", "hub/budget", "hub/store", "netpoll", "netpoll/tlstransport"}},
	internal + "resources":             {ours: []string{"hub", "hub/budget"}, forbidden: []string{"net"}},
	internal + "manual":                {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys"}},
	internal + "proxyproto":            {forbidden: []string{"net", "os", "syscall", "golang.org/x/sys", "time", "sync"}},
	internal + "systemd":               {forbidden: []string{"golang.org/x/sys", "net/http"}},
	internal + "attack":                {},                                                                                                       // tests of the binary
	internal + "e2e":                   {ours: []string{internal + "certificates/acmetest", internal + "httpapi/apitest", "netpoll/selfsigned"}}, // tests of the binary
}

// confined are the dependencies that only some files may import.
var confined = map[string][]string{
	"github.com/mailru/easygo":       {"netpoll/poller.go"},
	"github.com/valyala/fastjson":    {"hub/classroom/request.go"},
	"github.com/alecthomas/kong":     {"cmd/lectern/main.go", "cmd/lectern/manual.go", internal + "config/flags.go", internal + "manual/page.go", internal + "manual/completion.go"},
	"github.com/pelletier/go-toml":   {internal + "config/file.go", internal + "config/print.go"},
	"github.com/caddyserver":         {internal + "certificates/acme.go"},
	"go.uber.org/zap":                {internal + "certificates/acme.go", internal + "certificates/library_log.go"},
	"github.com/miekg/dns":           {internal + "certificates/acmetest/names.go"},
	"github.com/prometheus":          {internal + "metrics/metrics.go", "bench/usage/procstat.go"},
	"github.com/coreos/go-systemd":   {internal + "systemd/systemd.go", internal + "systemd/watchdog.go"},
	"github.com/coder/websocket":     {}, // a foreign client, and a foreign relay, for the tests
	"github.com/pires/go-proxyproto": {}, // a foreign proxy for the tests
	"github.com/gorilla/websocket":   {},
	"github.com/getkin/kin-openapi":  {internal + "httpapi/apitest/description.go"}, // judges openapi.json and the answers, in the tests
}

func TestBoundaries(t *testing.T) {
	sources := importsOf(t)
	for file, imports := range sources {
		folder := filepath.ToSlash(filepath.Dir(file))
		border, ok := borders[folder]
		if !ok {
			t.Errorf("%s: no borders are drawn for the package", file)
		}
		for _, path := range imports {
			if own, ok := strings.CutPrefix(path, "lectern/"); ok && !slices.Contains(border.ours, own) {
				t.Errorf("%s imports %s", file, path)
			}
			for _, forbidden := range border.forbidden {
				// net/netip and net/url are addresses as values; they open nothing.
				if within(path, forbidden) && path != "net/netip" && path != "net/url" {
					t.Errorf("%s imports %s", file, path)
				}
			}
			for dependency, files := range confined {
				if within(path, dependency) && !slices.Contains(files, file) {
					t.Errorf("%s imports %s, which only %q may", file, path, files)
				}
			}
		}
	}
	for folder := range borders {
		if !slices.ContainsFunc(sourceNames(sources), func(file string) bool { return filepath.Dir(file) == folder }) {
			t.Errorf("borders are drawn for %s, which has no sources", folder)
		}
	}
}

// within reports whether path is the package or module tree, or below it.
func within(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

func sourceNames(sources map[string][]string) []string {
	names := make([]string, 0, len(sources))
	for name := range sources {
		names = append(names, name)
	}
	return names
}

// importsOf returns what each Go file of the module but the tests imports, for
// whatever system it is.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	sources := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && elsewhere(path) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		sources[filepath.ToSlash(name)] = []string{}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			sources[filepath.ToSlash(name)] = append(sources[filepath.ToSlash(name)], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// elsewhere reports whether a folder is no part of the module, as go has it.
func elsewhere(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	name := filepath.Base(folder)
	return err == nil || strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules"
}

// TestOtherSystemsAreToldWhy builds the reactor for a system without epoll.
func TestOtherSystemsAreToldWhy(t *testing.T) {
	t.Parallel()
	build := exec.Command("go", "build", "./netpoll")
	build.Dir = root
	build.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	if err == nil {
		t.Fatal("the reactor was built for another system")
	}
	problems := 0
	for line := range strings.Lines(string(said)) {
		if !strings.HasPrefix(line, "#") {
			problems++
		}
	}
	if problems != 1 || !strings.Contains(string(said), "Lectern_runs_on_Linux_only") {
		t.Errorf("go build said\n%swant one line that says that Lectern runs on Linux only", said)
	}
}
