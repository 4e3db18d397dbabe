package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// deb returns the path of this machine's package.
func deb(t *testing.T) string {
	t.Helper()
	return filepath.Join(dist(t), "lectern_1.2.3-1_"+runtime.GOARCH+".deb")
}

// TestTheDebUnpacked runs what is in the package.
func TestTheDebUnpacked(t *testing.T) {
	if !isHere(t, "dpkg-deb") {
		return
	}
	root := t.TempDir()
	run(t, "dpkg-deb", "-x", deb(t), root)
	for _, name := range append(installed, "/usr/share/zsh/vendor-completions/_lectern") {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	binary := filepath.Join(root, "usr/bin/lectern")
	if said := run(t, binary, "version"); !strings.HasPrefix(said, "lectern v1.2.3, commit 0123456, ") {
		t.Errorf("the binary says %s", said)
	}
	config := run(t, binary, "config", "--config", filepath.Join(root, "etc/lectern/lectern.toml"))
	for _, want := range []string{"addr = ':8765'", "data = '/var/lib/lectern'"} {
		if !strings.Contains(config, want) {
			t.Errorf("the example configuration lacks %s:\n%s", want, config)
		}
	}
	page := run(t, "gzip", "-dc", filepath.Join(root, "usr/share/man/man1/lectern.1.gz"))
	if !strings.HasPrefix(page, ".TH LECTERN 1") || !strings.Contains(page, `\-\-max\-rooms`) {
		t.Errorf("the manual page is %.200s", page)
	}
	if said := run(t, "dpkg-deb", "-I", deb(t), "conffiles"); said != "/etc/lectern/lectern.toml\n" {
		t.Errorf("configuration files: %s", said)
	}
}

// TestTheDebInstalled installs the package, an update, and removes it, as root of an
// overlay of this machine that ends with the test.
func TestTheDebInstalled(t *testing.T) {
	if os.Getuid() != 0 || !isHere(t, "dpkg") || !isHere(t, "unshare") {
		t.Log("only root of a Debian system can install a package: not tried")
		return
	}
	const script = `set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none "$1/root" || { echo "no overlay"; exit 0; }
mount --rbind /dev "$1/root/dev"
cp "$2" "$1/root/lectern.deb"
chroot "$1/root" sh -ec '
	dpkg -i /lectern.deb
	stat -c "%n %a %U" /etc/lectern/create.key /etc/lectern/api.key
	getent passwd lectern
	cat /etc/lectern/create.key > /before
	dpkg -i /lectern.deb
	cmp /before /etc/lectern/create.key
	echo key $(cat /etc/lectern/api.key)
	LECTERN_DATA= lectern check --config /etc/lectern/lectern.toml --addr 127.0.0.1:0 --admin-addr "" --create-key-file /etc/lectern/create.key --api-key-file /etc/lectern/api.key
	dpkg --remove lectern
	test -e /etc/lectern/create.key
	dpkg --purge lectern
	test ! -e /etc/lectern && test ! -e /usr/bin/lectern && echo gone'
`
	said := run(t, "unshare", "--mount", "sh", "-c", script, "sh", t.TempDir(), deb(t))
	if strings.Contains(said, "no overlay") {
		t.Log("this kernel has no overlays: not tried")
		return
	}
	for _, want := range []string{
		`(?m)^/etc/lectern/create.key 600 root$`, `(?m)^/etc/lectern/api.key 600 root$`, `(?m)^lectern:x:\d+:\d+:`,
		`(?m)^key [0-9a-f]{32}$`, `The configuration is good`, `(?m)^gone$`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("dpkg does not say %s:\n%s", want, said)
		}
	}
	if strings.Count(said, "systemctl enable --now") != 1 {
		t.Errorf("an update tells how to begin:\n%s", said)
	}
}

// maxExposure is what systemd-analyze security may say at most, of 10.
const maxExposure = 3.0

func TestTheUnitIsHardened(t *testing.T) {
	if !isHere(t, "systemd-analyze") {
		return
	}
	said := run(t, "systemd-analyze", "security", "--offline=true", "files/lectern.service")
	found := regexp.MustCompile(`Overall exposure level for lectern.service: ([0-9.]+)`).FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("systemd-analyze says\n%s", said)
	}
	if exposure, err := strconv.ParseFloat(found[1], 64); err != nil || exposure > maxExposure {
		t.Errorf("the exposure is %s, want at most %.1f", found[1], maxExposure)
	}
}

// TestTheUnitsAreRight: systemd knows all that is in them. What they start is not
// installed here.
func TestTheUnitsAreRight(t *testing.T) {
	if !isHere(t, "systemd-analyze") {
		return
	}
	said, _ := exec.Command("systemd-analyze", "verify", "--man=no", "files/lectern.service", "files/lectern.socket").CombinedOutput()
	for line := range strings.Lines(string(said)) {
		if strings.Contains(line, "lectern.s") && !strings.Contains(line, "is not executable") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

// TestTheUnitsCommand is one that the relay understands, with the credentials that the
// unit loads.
func TestTheUnitsCommand(t *testing.T) {
	unit, err := os.ReadFile("files/lectern.service")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/lectern serve (.*)$`).FindStringSubmatch(string(unit))
	if found == nil {
		t.Fatal("the unit starts nothing")
	}
	credentials := t.TempDir()
	for _, loaded := range regexp.MustCompile(`(?m)^LoadCredential=(\S+?):/etc/lectern/(\S+)$`).FindAllStringSubmatch(string(unit), -1) {
		if loaded[1] != loaded[2] {
			t.Errorf("the credential %s comes from %s", loaded[1], loaded[2])
		}
		if err := os.WriteFile(filepath.Join(credentials, loaded[1]), []byte(strings.Repeat("0", 32)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := filepath.Abs("files/lectern.toml")
	if err != nil {
		t.Fatal(err)
	}
	args := strings.NewReplacer("%d", credentials, "/etc/lectern/lectern.toml", config).Replace(found[1])
	said := run(t, filepath.Join(dist(t), "lectern-v1.2.3-linux-"+runtime.GOARCH), append([]string{"config"}, strings.Fields(args)...)...)
	for _, key := range []string{"create-key", "api-key"} {
		if strings.Contains(said, "# "+key+" is not set") {
			t.Errorf("the service has no %s:\n%s", key, said)
		}
	}
}
