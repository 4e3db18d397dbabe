package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sassoftware/go-rpmutils"
)

// built builds a release once for all tests, and returns its folder.
var built = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "lectern-release-"); err != nil {
		return "", err
	}
	return dir, (&release{version: "v1.2.3", commit: "0123456", root: "../../..", out: dir}).build()
})

// TestMain has all that the tests leave in a folder that it removes.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lectern-packaging-test-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func dist(t *testing.T) (dir string) {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a command and returns what it says. It must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	said, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, said)
	}
	return string(said)
}

// isHere reports whether a program is installed.
func isHere(t *testing.T, name string) bool {
	t.Helper()
	_, err := exec.LookPath(name)
	if err != nil {
		t.Logf("no %s here", name)
	}
	return err == nil
}

// TestTheSameBytesTwice: a release can be built again, elsewhere, and compared.
func TestTheSameBytesTwice(t *testing.T) {
	one, other := dist(t), t.TempDir()
	if err := (&release{version: "v1.2.3", commit: "0123456", root: "../../..", out: other}).build(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(one)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
		a, err := os.ReadFile(filepath.Join(one, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(other, entry.Name()))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is not the same twice: %v", entry.Name(), err)
		}
	}
	want := []string{"Containerfile", "SHA256SUMS", "lectern-1.2.3-1.aarch64.rpm", "lectern-1.2.3-1.x86_64.rpm",
		"lectern-v1.2.3-linux-amd64", "lectern-v1.2.3-linux-arm64", "lectern_1.2.3-1_amd64.deb", "lectern_1.2.3-1_arm64.deb"}
	if !slices.Equal(names, want) {
		t.Errorf("the release has %q, want %q", names, want)
	}
}

func TestChecksums(t *testing.T) {
	command := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	command.Dir = dist(t)
	if said, err := command.CombinedOutput(); err != nil || strings.Count(string(said), ": OK\n") != 7 {
		t.Errorf("%v: %s", err, said)
	}
}

// TestBinariesAreStatic: they need no library of the system.
func TestBinariesAreStatic(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		f, err := elf.Open(filepath.Join(dist(t), "lectern-v1.2.3-linux-"+arch))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		isDynamic := slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC })
		if f.Machine != machine || isDynamic {
			t.Errorf("%s: machine %v, dynamic: %t", arch, f.Machine, isDynamic)
		}
	}
}

// installed are the files that both kinds of packages have.
var installed = []string{
	"/etc/lectern/lectern.toml",
	"/usr/bin/lectern",
	"/usr/lib/systemd/system/lectern.service",
	"/usr/lib/systemd/system/lectern.socket",
	"/usr/lib/sysusers.d/lectern.conf",
	"/usr/share/bash-completion/completions/lectern",
	"/usr/share/doc/lectern/README.md",
	"/usr/share/fish/vendor_completions.d/lectern.fish",
	"/usr/share/man/man1/lectern.1.gz",
}

func TestRPM(t *testing.T) {
	for _, arch := range []string{"x86_64", "aarch64"} {
		f, err := os.Open(filepath.Join(dist(t), "lectern-1.2.3-1."+arch+".rpm"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rpm, err := rpmutils.ReadRpm(f)
		if err != nil {
			t.Fatal(err)
		}
		if nevra, err := rpm.Header.GetNEVRA(); err != nil || nevra.Name != "lectern" || nevra.Version != "1.2.3" || nevra.Arch != arch {
			t.Errorf("%v, %v", nevra, err)
		}
		infos, err := rpm.Header.GetFiles()
		if err != nil {
			t.Fatal(err)
		}
		modes := make(map[string]int)
		for _, info := range infos {
			modes[info.Name()] = info.Mode() & 0o777
		}
		for _, name := range append(installed, "/usr/share/zsh/site-functions/_lectern") {
			want := 0o644
			if name == "/usr/bin/lectern" {
				want = 0o755
			}
			if modes[name] != want {
				t.Errorf("%s: %s has the mode %#o", arch, name, modes[name])
			}
		}
		payload, err := rpm.PayloadReaderExtended()
		if err != nil {
			t.Fatal(err)
		}
		for {
			info, err := payload.Next()
			if err != nil {
				t.Fatalf("there is no binary: %v", err)
			}
			if info.Name() != "/usr/bin/lectern" {
				continue
			}
			binary, err := io.ReadAll(payload)
			if err != nil || !bytes.HasPrefix(binary, []byte("\x7fELF")) {
				t.Errorf("the binary: %v", err)
			}
			break
		}
		for _, tag := range []int{rpmutils.POSTIN, rpmutils.PREUN, rpmutils.POSTUN} {
			if script, err := rpm.Header.GetString(tag); err != nil || !strings.HasPrefix(script, "#!/bin/sh") {
				t.Errorf("script %d: %q, %v", tag, script, err)
			}
		}
	}
}

func TestPackageVersions(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3":            "1.2.3",
		"1.2.3":             "1.2.3",
		"v1.2.3-4-gabcdef0": "1.2.3+4+gabcdef0",
		"v1.2.3-dirty":      "1.2.3+dirty",
		"abcdef0":           "0~abcdef0",
		"1234567":           "0~1234567",
		"abcdef0-dirty":     "0~abcdef0.dirty",
		"development":       "0~development",
	} {
		if got := packageVersion(version); got != want {
			t.Errorf("%s is %s in a package, want %s", version, got, want)
		}
	}
}
