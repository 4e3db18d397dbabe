// Command packaging builds what a release has: static binaries for each architecture,
// their packages for Debian and Red Hat, a Containerfile, and checksums. The same sources,
// version and time make the same bytes.
//
// It is a module of its own, so that the packager's forty dependencies are not the
// relay's.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// architectures are those that a release has binaries for.
var architectures = []string{"amd64", "arm64"}

func main() {
	var r release
	flag.StringVar(&r.version, "version", "development", "version of the release")
	flag.StringVar(&r.commit, "commit", "unknown", "commit that it is built from")
	flag.StringVar(&r.root, "root", "../../..", "folder of the relay's module")
	flag.StringVar(&r.out, "out", "../../../dist", "folder for what is built, which is emptied first")
	flag.Parse()
	if err := r.build(); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

// A release is what is built at once.
type release struct {
	version, commit string
	root, out       string
	time            time.Time // of every file in the packages
	work            string    // folder for what is made on the way
}

func (r *release) build() (err error) {
	if r.time, err = sourceTime(); err != nil {
		return err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "lectern-packaging-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	for _, arch := range architectures {
		if err := r.compile(arch); err != nil {
			return err
		}
	}
	if err := r.writeManual(); err != nil {
		return err
	}
	for _, arch := range architectures {
		for _, format := range []string{"deb", "rpm"} {
			if err := r.pack(arch, format); err != nil {
				return fmt.Errorf("%s for %s: %w", format, arch, err)
			}
		}
	}
	if err := copyFile(filepath.Join(r.out, "Containerfile"), "files/Containerfile"); err != nil {
		return err
	}
	return writeChecksums(r.out)
}

// sourceTime returns the time in SOURCE_DATE_EPOCH, which is the same for the same
// sources, or else the beginning of 1980, before which some formats have no time.
func sourceTime() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}
