package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// pack makes the package of an architecture in a format, deb or rpm.
func (r *release) pack(arch, format string) error {
	info := nfpm.WithDefaults(&nfpm.Info{
		Name:          "lectern",
		Arch:          arch,
		Platform:      "linux",
		Version:       packageVersion(r.version),
		VersionSchema: "none",
		Release:       "1",
		Section:       "net",
		Priority:      "optional",
		Maintainer:    "Lectern developers",
		Description:   "WebSocket relay for one speaker and a hall of listeners\nEverything that a host sends to its room reaches every viewer of the room at once.",
		License:       "MIT",
		MTime:         r.time,
		Overridables: nfpm.Overridables{
			Contents: r.contents(arch),
			Scripts: nfpm.Scripts{
				PostInstall: "files/postinstall.sh",
				PreRemove:   "files/preremove.sh",
				PostRemove:  "files/postremove.sh",
			},
			RPM: nfpm.RPM{BuildHost: "localhost", Summary: "WebSocket relay for one speaker and a hall of listeners"},
		},
	})
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := packager.Package(info, f); err != nil {
		return err
	}
	return f.Close()
}

// contents returns the files of a package.
func (r *release) contents(arch string) files.Contents {
	file := func(from, to string, mode os.FileMode) *files.Content {
		return &files.Content{Source: from, Destination: to, FileInfo: &files.ContentFileInfo{Mode: mode, Owner: "root", Group: "root", MTime: r.time}}
	}
	made := func(name, to string) *files.Content { return file(filepath.Join(r.work, name), to, 0o644) }
	page := func(name string) *files.Content {
		return file(filepath.Join(r.root, name), "/usr/share/doc/lectern/"+filepath.Base(name), 0o644)
	}
	config := file("files/lectern.toml", "/etc/lectern/lectern.toml", 0o644)
	config.Type = files.TypeConfigNoReplace
	zshDebian, zshRed := made("_lectern", "/usr/share/zsh/vendor-completions/_lectern"), made("_lectern", "/usr/share/zsh/site-functions/_lectern")
	zshDebian.Packager, zshRed.Packager = "deb", "rpm"
	return files.Contents{
		file(r.binary(arch), "/usr/bin/lectern", 0o755),
		file("files/lectern.service", "/usr/lib/systemd/system/lectern.service", 0o644),
		file("files/lectern.socket", "/usr/lib/systemd/system/lectern.socket", 0o644),
		file("files/sysusers.conf", "/usr/lib/sysusers.d/lectern.conf", 0o644),
		config,
		made("lectern.1.gz", "/usr/share/man/man1/lectern.1.gz"),
		made("lectern.bash", "/usr/share/bash-completion/completions/lectern"),
		made("lectern.fish", "/usr/share/fish/vendor_completions.d/lectern.fish"),
		zshDebian, zshRed,
		page("README.md"), page("PROTOCOL.md"),
		page("docs/configuration.md"), page("docs/operating.md"), page("docs/proxies.md"), page("docs/security.md"),
		file(filepath.Join(r.root, "LICENSE"), "/usr/share/doc/lectern/copyright", 0o644),
	}
}

// released matches the versions of releases, as git describe has them.
var released = regexp.MustCompile(`^v?([0-9].*)$`)

// notInVersions matches what a package's version may not have. A hyphen would begin the
// package's own revision.
var notInVersions = regexp.MustCompile(`[^0-9A-Za-z.+~]+`)

// packageVersion returns a version that both formats can compare. What is built from a
// commit without a release comes before every release.
func packageVersion(version string) string {
	found := released.FindStringSubmatch(version)
	if found == nil || !strings.Contains(version, ".") {
		return fmt.Sprintf("0~%s", notInVersions.ReplaceAllString(version, "."))
	}
	return notInVersions.ReplaceAllString(found[1], "+")
}
