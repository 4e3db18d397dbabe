package config

import (
	"strings"
	"testing"
)

// TestCertificateOptions looks at what is refused, and why.
func TestCertificateOptions(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]string{
		"":                           "",
		"--tls-cert=a --tls-key=b":   "",
		"--domain=relay.school.test": "",
		"--domain=a.test --domain=b.test --acme-email=it@a.test --acme-ca=https://ca.test/dir": "",
		"--domain=a.test,b.test":                                  "",
		"--domain=xn--mnchen-3ya.de":                              "",
		"--domain=a.test --redirect-addr=":                        "",
		"--tls-cert=a --tls-key=b --redirect-addr=127.0.0.1:8080": "",
		"--domain=a.test --addr=:8443 --redirect-addr=:8080":      "",

		"--tls-cert=a": "--tls-cert needs --tls-key",
		"--tls-key=a":  "--tls-key needs --tls-cert",
		"--domain=a.test --tls-cert=a --tls-key=b":      "--domain and --tls-cert: only one of them may be set",
		"--acme-email=a@b":                              "--acme-email needs --domain",
		"--acme-ca=https://a/":                          "--acme-ca needs --domain",
		"--tls-cert=a --tls-key=b --acme-ca-root=c":     "--acme-ca-root needs --domain",
		"--redirect-addr=:80":                           "--redirect-addr needs --domain or --tls-cert",
		"--domain=*.a.test":                             `"*.a.test" is no host's name`,
		"--domain=a.test:443":                           `"a.test:443" is no host's name`,
		"--domain=münchen.de":                           "is no host's name",
		"--domain=10.0.0.1":                             `--domain: "10.0.0.1" is an address`,
		"--domain=relay":                                `--domain: "relay" is no public name`,
		"--domain=a..test":                              "is no domain name",
		"--domain=a_b.test":                             "has an underscore",
		"--domain=-a.test":                              "a hyphen is at the end",
		"--domain=a.test,A.test":                        `"a.test" is there twice`,
		"--domain=" + strings.Repeat("a", 64) + ".test": "between two dots",
		"--domain=a.test --acme-ca=http://ca.test/":     "--acme-ca must be a URL like https://",
		"--domain=a.test --acme-ca=ca.test":             "--acme-ca must be a URL like https://",
		"--domain=a.test --acme-email=a":                "--acme-email must be one address",
		"--domain=a.test --acme-email=a@b,c@d":          "--acme-email must be one address",
		"--domain=a.test --addr=:80":                    "--redirect-addr must not be --addr (:80)",
		"--domain=a.test --admin-addr=:80":              "--redirect-addr must not be --admin-addr (:80)",
		"--domain=a.test --admin-addr=:443":             "--admin-addr must not be --addr (:443)",
		"--domain=a.test --redirect-addr=80":            "missing port in address",
		"--ktls=on":                                     "--ktls must be one of",
	} {
		_, err := read(t, "", nil, strings.Fields(flags)...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", flags, err, want)
		}
	}
}

// TestDomainsSetTheAddresses unless they are given, and printing says so.
func TestDomainsSetTheAddresses(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string][2]string{
		"":                         {"127.0.0.1:8765", ""},
		"--domain=a.test":          {":443", ":80"},
		"--tls-cert=a --tls-key=b": {"127.0.0.1:8765", ""},
		"--domain=a.test --addr=127.0.0.1:1 --redirect-addr=127.0.0.1:2": {"127.0.0.1:1", "127.0.0.1:2"},
		"--domain=a.test --redirect-addr=":                               {":443", ""},
	} {
		s, err := read(t, "", nil, strings.Fields(flags)...)
		if err != nil || s.Addr != want[0] || s.RedirectAddr != want[1] {
			t.Errorf("%s: %v, %s, %s", flags, err, s.Addr, s.RedirectAddr)
			continue
		}
		if s.HasTLS() != (flags != "") {
			t.Errorf("%s: TLS is %t", flags, s.HasTLS())
		}
		var b strings.Builder
		if err := s.Print(&b); err != nil || !strings.Contains(b.String(), "addr = '"+want[0]+"'") {
			t.Errorf("%v:\n%s", err, b.String())
		}
	}
	s, err := read(t, "domain = ['a.test', 'b.test']\nredirect-addr = ''\n", nil)
	if err != nil || len(s.Domain) != 2 || s.Addr != ":443" || s.RedirectAddr != "" {
		t.Errorf("%v, %v", err, s)
	}
}

func TestStateFolder(t *testing.T) {
	t.Parallel()
	for want, environ := range map[string]map[string]string{
		"/var/lib/lectern":           {"STATE_DIRECTORY": "/var/lib/lectern:/var/lib/x", "HOME": "/root"},
		"/s/lectern":                 {"XDG_STATE_HOME": "/s", "HOME": "/root"},
		"/root/.local/state/lectern": {"XDG_STATE_HOME": "s", "HOME": "/root"},
		"":                           {},
	} {
		if got := StateFolder(func(name string) string { return environ[name] }); got != want {
			t.Errorf("%v: %q, want %q", environ, got, want)
		}
	}
}
