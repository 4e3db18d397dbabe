// Package certificates makes the TLS configuration of a relay: the certificate
// comes from two files that somebody else renews, or from a CA by ACME. It also
// answers plain HTTP beside TLS, and keeps the keys for session tickets.
//
// The package opens no sockets but those to the CA. A listener uses the
// configuration that TLS returns. Without domains the ACME library is linked, but
// nothing of it runs.
package certificates

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Config says where certificates come from: from CertFile and KeyFile, or for
// Domains by ACME.
type Config struct {
	CertFile string // PEM; the relay's certificate and then its intermediate ones
	KeyFile  string // PEM; the private key, not encrypted

	Domains []string // in lower case; the relay asks the CA for a certificate for each
	CA      string   // URL of the CA's ACME directory; empty for Let's Encrypt
	CARoots string   // PEM; the CAs that sign the ACME server's own certificate; empty for the system's
	Email   string   // where the CA may write to; may be empty
	Storage string   // folder for certificates, their keys and the account, with mode 0700

	// The addresses at which the CA's challenges arrive. A challenge whose address is
	// empty is not used. The CA always connects to the ports 80 and 443.
	HTTPAddr string // of the server of Redirect, for HTTP-01
	TLSAddr  string // of the TLS server, for TLS-ALPN-01

	TicketFile string // keys for session tickets; if it is empty, they do not survive a restart

	Log *slog.Logger // nil for none

	renewEvery time.Duration // time between two looks at what to renew; 0 for ten minutes
	firstRetry time.Duration // 0 for 15 s
}

// Certificates is a relay's TLS configuration and what keeps it up to date. All
// methods but Run may be called from anywhere.
type Certificates struct {
	log     *slog.Logger // immutable after Open
	config  *tls.Config  // immutable after Open, but for the ticket keys, which it guards itself
	files   *filePair    // immutable after Open; nil with ACME
	acme    *automatic   // immutable after Open; nil with files
	tickets *ticketKeys  // owned by Run
}

// Open reads what is on disk. It does not use the network. An error names the
// file and says what is wrong with it.
func Open(ctx context.Context, c Config) (*Certificates, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	all := &Certificates{log: c.Log}
	now := time.Now()
	if len(c.Domains) > 0 {
		var err error
		if all.acme, err = openAutomatic(ctx, c); err != nil {
			return nil, err
		}
		all.config = newTLSConfig(all.acme.certificate)
		all.config.NextProtos = append(all.config.NextProtos, acmeTLSProtocol)
	} else {
		all.files = &filePair{certFile: c.CertFile, keyFile: c.KeyFile}
		if err := all.files.load(now); err != nil {
			return nil, err
		}
		all.config = newTLSConfig(all.files.certificate)
	}
	all.tickets = openTicketKeys(c.TicketFile, now, c.Log)
	all.tickets.apply(all.config)
	return all, nil
}

// Check says what would keep Open from working, as far as that shows without writing
// to the disk. Warnings are about what goes wrong later.
func Check(c Config) (warnings []string, err error) {
	if len(c.Domains) > 0 {
		_, err := readRoots(c.CARoots)
		return nil, err
	}
	now := time.Now()
	pair, err := loadPair(c.CertFile, c.KeyFile, now)
	if err != nil {
		return nil, err
	}
	if pair.Leaf.NotAfter.Sub(now) < warnBefore {
		warnings = append(warnings, "the certificate expires at "+pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	if info, err := os.Stat(c.KeyFile); err == nil && info.Mode().Perm()&0o004 != 0 {
		warnings = append(warnings, fmt.Sprintf("every user of this machine may read %s (mode %04o)", c.KeyFile, info.Mode().Perm()))
	}
	return warnings, nil
}

// ticketCheck is the time between two looks at the age of the ticket keys.
const ticketCheck = 10 * time.Minute

// Run keeps the certificates and the ticket keys up to date until ctx ends. The
// listeners must be open: a CA connects to them. Run must be called only once.
func (c *Certificates) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if c.acme != nil {
		all.Go(func() { c.acme.run(ctx) })
	} else {
		all.Go(func() { c.watch(ctx) })
	}
	ticks := time.NewTicker(ticketCheck)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if c.tickets.rotate(time.Now()) {
				c.tickets.apply(c.config)
			}
		}
	}
}

// TLS returns the configuration for servers. It is always the same one, and
// changes of certificates and ticket keys reach it. A clone gets new certificates
// but no new ticket keys, so clone it for single connections only.
func (c *Certificates) TLS() *tls.Config { return c.config }

// newTLSConfig returns a configuration with Mozilla's intermediate set. The order
// of cipher suites is crypto/tls's own, which knows the processor.
func newTLSConfig(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		MaxVersion: tls.VersionTLS13,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are fixed
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
		NextProtos:       []string{"http/1.1"},
		GetCertificate:   certificate,
	}
}

// isOwn reports whether the relay serves a host's name, in lower case.
func (c *Certificates) isOwn(host string) bool {
	if c.acme != nil {
		return slices.Contains(c.acme.domains, host)
	}
	return c.files.current.Load().Leaf.VerifyHostname(host) == nil
}

// Reload reads the files again. After an error, which it logs, the old certificate
// stays. With ACME there is nothing to read.
func (c *Certificates) Reload() error {
	if c.acme != nil {
		return nil
	}
	if err := c.files.load(time.Now()); err != nil {
		c.log.Error("the certificate is as it was: the new one is refused", "error", err)
		return err
	}
	leaf := c.files.current.Load().Leaf
	c.log.Info("the certificate was read", "file", c.files.certFile, "names", namesOf(leaf), "expires", leaf.NotAfter)
	return nil
}

// Expiries calls yield for each certificate with its name and the time of its end.
// The time is zero as long as there is no certificate for a name.
func (c *Certificates) Expiries(yield func(name string, notAfter time.Time)) {
	if c.acme != nil {
		for _, name := range c.acme.domains {
			yield(name, c.acme.expiry(name))
		}
		return
	}
	leaf := c.files.current.Load().Leaf
	yield(nameOf(leaf), leaf.NotAfter)
}

// namesOf lists the names of a certificate.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return strings.Join(names, " ")
}

// Close gives back what Open took. Run must have ended. It may be called again.
func (c *Certificates) Close() {
	if c.acme != nil {
		c.acme.stop()
	}
}
