package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// binary returns the path of the binary for an architecture.
func (r *release) binary(arch string) string {
	return filepath.Join(r.out, "lectern-"+r.version+"-linux-"+arch)
}

// compile builds a static binary that tells nothing of the machine that it was built on.
func (r *release) compile(arch string) error {
	out, err := filepath.Abs(r.binary(arch))
	if err != nil {
		return err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+r.version+" -X main.commit="+r.commit, "-o", out, "./cmd/lectern")
	build.Dir = r.root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for %s: %w\n%s", arch, err, said)
	}
	return nil
}

// generated are the files that the relay itself prints, with its arguments.
var generated = map[string][]string{
	"lectern.1":    {"manual"},
	"lectern.bash": {"completion", "bash"},
	"_lectern":     {"completion", "zsh"},
	"lectern.fish": {"completion", "fish"},
}

// writeManual has this machine's binary print the manual page and shell completion.
func (r *release) writeManual() error {
	for name, args := range generated {
		text, err := exec.Command(r.binary(runtime.GOARCH), args...).Output()
		if err != nil {
			return fmt.Errorf("lectern %s: %w", strings.Join(args, " "), err)
		}
		if name == "lectern.1" {
			name += ".gz"
			if text, err = compressed(text); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(r.work, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compressed returns the text as gzip, without a name or a time.
func compressed(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeChecksums writes the file that `sha256sum --check` reads.
func writeChecksums(dir string) error {
	entries, err := os.ReadDir(dir) // in the order of their names
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(text), entry.Name())
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
