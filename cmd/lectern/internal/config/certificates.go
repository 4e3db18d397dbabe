package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
)

// The defaults of addresses for a relay that has certificates by ACME. A CA connects
// to no other ports.
const (
	secureAddr   = ":443"
	redirectAddr = ":80"
)

// HasTLS reports whether the relay's own address speaks TLS.
func (o *Options) HasTLS() bool { return len(o.Domain) > 0 || o.TLSCert != "" }

// settleCertificates gives addresses their defaults for --domain.
func (b *settler) settleCertificates() {
	if len(b.Domain) == 0 {
		return
	}
	if !b.IsGiven("addr") {
		b.Addr = secureAddr
	}
	if !b.IsGiven("redirect-addr") {
		b.RedirectAddr = redirectAddr
	}
}

// checkCertificates refuses options that contradict each other, and names for which
// no CA gives a certificate in the ways that the relay knows. It reads no files.
func (b *settler) checkCertificates() {
	place := func(name string) string { return b.setting(name).source.place }
	if len(b.Domain) > 0 && b.TLSCert != "" {
		b.refuse("%s and %s: only one of them may be set: certificates come from a CA or from files", place("domain"), place("tls-cert"))
	}
	switch {
	case b.TLSCert != "" && b.TLSKey == "":
		b.refuse("%s needs --tls-key, the file with the private key", place("tls-cert"))
	case b.TLSKey != "" && b.TLSCert == "":
		b.refuse("%s needs --tls-cert, the file with the certificate", place("tls-key"))
	}
	if len(b.Domain) == 0 {
		for _, name := range []string{"acme-ca", "acme-ca-root", "acme-email"} {
			if b.setting(name).target.String() != "" {
				b.refuse("%s needs --domain: only with it the relay asks a CA", place(name))
			}
		}
	}
	seen := make(map[Hostname]bool)
	for _, name := range b.Domain {
		if why := unsuitableDomain(string(name)); why != "" {
			b.refuse("%s: %q %s", place("domain"), name, why)
		} else if seen[name] {
			b.refuse("%s: %q is there twice", place("domain"), name)
		}
		seen[name] = true
	}
	if u, err := url.Parse(b.ACMECA); b.ACMECA != "" && (err != nil || u.Scheme != "https" || u.Hostname() == "") {
		b.refuse("%s must be a URL like https://ca.example/acme/directory, not %q", place("acme-ca"), b.ACMECA)
	}
	if name, host, ok := strings.Cut(b.ACMEEmail, "@"); b.ACMEEmail != "" && (!ok || name == "" || host == "" || strings.ContainsAny(b.ACMEEmail, " ,<>")) {
		b.refuse("%s must be one address like it@school.example, not %q", place("acme-email"), b.ACMEEmail)
	}
	b.checkRedirect()
}

// checkRedirect looks at the address of plain HTTP beside TLS.
func (b *settler) checkRedirect() {
	if b.RedirectAddr == "" {
		return
	}
	place := b.setting("redirect-addr").source.place
	if !b.HasTLS() {
		b.refuse("%s needs --domain or --tls-cert: without TLS there is nothing to redirect to", place)
	}
	b.checkAddress("redirect-addr", b.RedirectAddr)
	if isSameAddress(b.Addr, b.RedirectAddr) {
		b.refuse("%s must not be --addr (%s)", place, b.Addr)
	}
	if b.AdminAddr != "" && isSameAddress(b.AdminAddr, b.RedirectAddr) {
		b.refuse("%s must not be --admin-addr (%s)", place, b.AdminAddr)
	}
}

// maxLabel bounds a part of a name between two dots, in bytes (RFC 1035 2.3.4).
const maxLabel = 63

// unsuitableDomain says why there can be no certificate for a name. It returns
// nothing for a suitable one. Parsing has refused wildcards and ports.
func unsuitableDomain(name string) string {
	if _, err := netip.ParseAddr(name); err == nil {
		return "is an address: a CA gives certificates for names"
	}
	labels := strings.Split(name, ".")
	if len(labels) < 2 {
		return "is no public name: it must have a dot"
	}
	for _, label := range labels {
		switch {
		case label == "" || len(label) > maxLabel:
			return "is no domain name: between two dots there are 1 to 63 characters"
		case strings.Contains(label, "_"):
			return "has an underscore, which a CA refuses"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "is no domain name: a hyphen is at the end of a part"
		}
	}
	return ""
}

// StateFolder returns the folder for what the relay keeps without --data, like
// certificates. It follows systemd and the XDG base directories. The result is empty
// if the environment names no place.
func StateFolder(environ func(string) string) string {
	if all := environ("STATE_DIRECTORY"); all != "" {
		first, _, _ := strings.Cut(all, ":")
		return first
	}
	if state := environ("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "lectern")
	}
	if home := environ("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "lectern")
	}
	return ""
}
