package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// serveFlags returns the flags of lectern serve as they are declared.
func serveFlags(t *testing.T) []*kong.Flag {
	t.Helper()
	for _, command := range newParser(new(cli)).Model.Children {
		if command.Name == "serve" {
			return command.Flags
		}
	}
	t.Fatal("there is no command serve")
	return nil
}

// variable returns the name of a flag's environment variable.
func variable(flag *kong.Flag) string {
	return "LECTERN_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

func TestHelpListsEveryFlag(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	k := newParser(new(cli))
	k.Stdout, k.Exit = &out, func(int) {}
	_, _ = k.Parse([]string{"serve", "--help"}) // goes on where a process would end
	help := out.String()
	for _, flag := range serveFlags(t) {
		if flag.Name == "help" {
			continue
		}
		shown := "--" + flag.Name
		if flag.Default != "" {
			shown += "=" + flag.FormatPlaceHolder()
		}
		if !strings.Contains(help, shown) || !strings.Contains(help, "($"+variable(flag)+")") {
			t.Errorf("the help lacks %s or $%s", shown, variable(flag))
		}
	}
}

// TestHelpOfTheBenchNamesNoVariables: only options of the relay have variables.
func TestHelpOfTheBenchNamesNoVariables(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	k := newParser(new(cli))
	k.Stdout, k.Exit = &out, func(int) {}
	_, _ = k.Parse([]string{"bench", "fanout", "--help"})
	if help := out.String(); !strings.Contains(help, "--max-p99") || strings.Contains(help, "($LECTERN_") {
		t.Errorf("the help is\n%s", help)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	built := filepath.Join(t.TempDir(), "lectern")
	if out, err := makeCommand("VERSION=v9.8.7", "COMMIT=abc123", "BIN="+built, "build").CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	for _, arg := range []string{"version", "--version"} {
		out, err := exec.Command(built, arg).Output()
		if want := "lectern v9.8.7, commit abc123, " + runtime.Version() + " linux/" + runtime.GOARCH + "\n"; err != nil || string(out) != want {
			t.Errorf("lectern %s: %q, %v, want %q", arg, out, err, want)
		}
	}

	// Where there is no checkout, make passes other words.
	dry := makeCommand("--dry-run", "build")
	dry.Env = append(dry.Env, "GIT_DIR=/nonexistent")
	out, err := dry.CombinedOutput()
	if !strings.Contains(string(out), "-ldflags '-X main.version=development -X main.commit=unknown'") {
		t.Errorf("without a checkout make build would run %q, %v", out, err)
	}
}

// makeCommand is make at the module's root, as if started from a shell and not
// by make test.
func makeCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("make", args...)
	cmd.Dir = root
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !strings.HasPrefix(name, "MAKE") && name != "MFLAGS" {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	return cmd
}
