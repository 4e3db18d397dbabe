package certificates

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// acmeTLSProtocol is the ALPN name of TLS-ALPN-01 challenges (RFC 8737 6.2).
const acmeTLSProtocol = "acme-tls/1"

// How long the relay waits before it asks the CA again for a first certificate.
// The time doubles with each failure. Renewals have the library's times, from a
// minute to six hours.
const (
	firstRetry = 15 * time.Second
	maxRetry   = time.Hour
)

// An automatic keeps the certificates of some domains, by ACME. Its certificates
// are on disk and in memory; those in memory are served whatever happens to the
// disk and the CA.
type automatic struct {
	// Immutable after openAutomatic:
	log     *slog.Logger
	domains []string // in lower case
	storage string
	first   time.Duration         // wait after a first failure
	cache   *certmagic.Cache      // the certificates in memory; guards itself
	manager *certmagic.Config     // renews, and reads the disk
	issuer  *certmagic.ACMEIssuer // of manager

	close sync.Once

	strangers refusals // handshakes for other names
	unready   refusals // handshakes for domains that have no certificate yet
}

// openAutomatic reads the certificates on disk. It does not use the network.
func openAutomatic(ctx context.Context, c Config) (*automatic, error) {
	roots, err := readRoots(c.CARoots)
	if err != nil {
		return nil, err
	}
	if err := prepareStorage(c.Storage, c.Log); err != nil {
		return nil, err
	}
	a := &automatic{log: c.Log, domains: c.Domains, storage: c.Storage, first: firstRetry}
	if c.firstRetry > 0 {
		a.first = c.firstRetry
	}
	logger := zap.New(libraryLog{c.Log})
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.manager, nil },
		RenewCheckInterval: c.renewEvery, // zero for the library's ten minutes
		OCSPCheckInterval:  math.MaxInt64,
		Logger:             logger,
	})
	a.manager = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: c.Storage},
		// Let's Encrypt has no OCSP any more, and a start must not wait for another CA's.
		OCSP:    certmagic.OCSPConfig{DisableStapling: true},
		OnEvent: a.tell,
		Logger:  logger,
	})
	a.issuer = certmagic.NewACMEIssuer(a.manager, certmagic.ACMEIssuer{
		CA: c.CA, Email: c.Email, TrustedRoots: roots, Logger: logger,
		Agreed:                    true, // docs/operating.md says so
		DisableDistributedSolvers: true, // this process answers its own challenges, from memory
		DisableHTTPChallenge:      c.HTTPAddr == "",
		DisableTLSALPNChallenge:   c.TLSAddr == "",
		ListenHost:                listenHost(c.TLSAddr), // the library looks there for a server, and makes one if there is none
		AltHTTPPort:               portOf(c.HTTPAddr),
		AltTLSALPNPort:            portOf(c.TLSAddr),
	})
	a.manager.Issuers = []certmagic.Issuer{renewer{a.issuer}}
	for _, name := range a.domains {
		a.load(ctx, name)
	}
	return a, nil
}

// readRoots reads the CAs that sign an ACME server's own certificate. Without a
// file they are the system's.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	roots, err := parseChain(path, text)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	return pool, nil
}

// prepareStorage makes the folder for certificates and keys. A full disk is no
// reason not to serve the certificates in it.
func prepareStorage(folder string, log *slog.Logger) error {
	err := os.MkdirAll(folder, 0o700)
	if err == nil {
		err = os.Chmod(folder, 0o700) // if it was there before, it may be open to all users
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".check-*")
	if errors.Is(err, syscall.ENOSPC) {
		log.Error("the disk is full: certificates cannot be renewed", "folder", folder)
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// listenHost returns the host of an address, empty if it stands for all of the
// machine.
func listenHost(address string) string {
	host, _, err := net.SplitHostPort(address)
	if ip, parseErr := netip.ParseAddr(host); err != nil || parseErr == nil && ip.IsUnspecified() {
		return ""
	}
	return host
}

// portOf returns the port of an address, 0 if it has none.
func portOf(address string) int {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return 0
	}
	return n
}

// load reads a certificate from the disk. It moves damaged files out of the way:
// otherwise the library would neither use nor replace them.
func (a *automatic) load(ctx context.Context, name string) {
	found, err := a.manager.CacheManagedCertificate(ctx, name)
	switch {
	case err == nil && found.Expired():
		a.log.Error("the certificate on disk has expired", "name", name, "expired", found.Leaf.NotAfter)
	case err == nil:
		a.log.Info("the certificate was read from disk", "name", name, "expires", found.Leaf.NotAfter)
	case errors.Is(err, fs.ErrNotExist):
		a.log.Info("there is no certificate on disk: the relay asks the CA for one", "name", name, "ca", a.issuer.CA)
	default:
		folder := filepath.Join(a.storage, filepath.FromSlash(certmagic.StorageKeys.CertsSitePrefix(a.issuer.IssuerKey(), name)))
		aside := folder + ".damaged"
		moved := errors.Join(os.RemoveAll(aside), os.Rename(folder, aside))
		a.log.Error("the certificate on disk is damaged: the relay asks the CA for another", "name", name, "error", err, "moved_to", aside, "move_error", moved)
	}
}

// run obtains the certificates that are missing and renews those that need it,
// until ctx ends. The library renews later ones by itself until stop.
func (a *automatic) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, name := range a.domains {
		if a.find(name) == nil {
			all.Go(func() { a.obtain(ctx, name) })
		}
	}
	all.Go(func() {
		if err := a.cache.RenewManagedCertificates(ctx); err != nil {
			a.log.Error("certificates were not renewed", "error", err)
		}
	})
}

// obtain asks the CA for a first certificate until it has one or ctx ends.
func (a *automatic) obtain(ctx context.Context, name string) {
	attempts := 0
	asker := *a.manager
	asker.Issuers = []certmagic.Issuer{singleAttempt{a.issuer, &attempts}}
	for wait := a.first; ; wait = min(2*wait, maxRetry) {
		err := asker.ObtainCertAsync(ctx, name)
		if err == nil {
			_, err = a.manager.CacheManagedCertificate(ctx, name)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		attempts++
		a.log.Error("the CA gave no certificate", "name", name, "ca", a.issuer.CA, "error", err, "attempt", attempts, "next_in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// A renewer hides the issuer's type, by which the library decides to name the
// certificate that an order replaces (RFC 9773 5). A CA that has a replacement
// already, or does not find the old certificate, refuses such an order each time,
// and the library would repeat it until the certificate has expired. When to renew
// is still the CA's to say.
type renewer struct{ *certmagic.ACMEIssuer }

// A singleAttempt keeps the library from repeating a failed attempt, which it would
// do with pauses of its own. From the second attempt on the library asks the test
// servers of Let's Encrypt first: the CA counts failures.
type singleAttempt struct {
	*certmagic.ACMEIssuer
	attempts *int // failed ones; owned by obtain
}

// errRepeated ends an attempt that the library repeats, because it could not save
// what the CA gave. The library has logged why.
var errRepeated = errors.New("certificates: the certificate was not saved")

// PreCheck refuses names for which the CA gives no certificates.
func (s singleAttempt) PreCheck(ctx context.Context, names []string, interactive bool) error {
	if err := s.ACMEIssuer.PreCheck(ctx, names, interactive); err != nil {
		return certmagic.ErrNoRetry{Err: err}
	}
	return nil
}

// Issue asks the CA.
func (s singleAttempt) Issue(ctx context.Context, request *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if repeated, ok := ctx.Value(certmagic.AttemptsCtxKey).(*int); ok && *repeated > 0 {
		return nil, certmagic.ErrNoRetry{Err: errRepeated}
	}
	failed := *s.attempts
	issued, err := s.ACMEIssuer.Issue(context.WithValue(ctx, certmagic.AttemptsCtxKey, &failed), request)
	if err != nil {
		return nil, certmagic.ErrNoRetry{Err: err}
	}
	return issued, nil
}

// tell logs what the library did. It is called by the library.
func (a *automatic) tell(_ context.Context, event string, data map[string]any) error {
	if event == "cert_obtained" {
		a.log.Info("the CA gave a certificate", "name", data["identifier"], "ca", a.issuer.CA, "renewal", data["renewal"])
	}
	return nil
}

// find returns the certificates for a domain, nil if there is none yet.
func (a *automatic) find(name string) []certmagic.Certificate {
	all := a.cache.AllMatchingCertificates(name)
	if len(all) == 0 {
		return nil
	}
	return all
}

// certificate is called for each handshake. A client that sends no name gets the
// first domain's certificate. Other names are refused: with an alert
// unrecognized_name if they are not the relay's, and internal_error as long as
// there is no certificate for them.
func (a *automatic) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hostOf(hello.ServerName)
	if name == "" {
		name = a.domains[0]
	}
	_, challenged := certmagic.GetACMEChallenge(name)
	isChallenge := len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmeTLSProtocol
	if !slices.Contains(a.domains, name) || isChallenge && !challenged {
		if n := a.strangers.add(time.Now()); n > 0 {
			a.log.Debug("handshakes for names that are not the relay's", "count", n, "last_name", name)
		}
		return nil, nil // crypto/tls makes it unrecognized_name
	}
	if isChallenge {
		return a.manager.GetCertificate(hello)
	}
	all := a.find(name)
	if all == nil {
		if n := a.unready.add(time.Now()); n > 0 {
			a.log.Warn("handshakes failed: there is no certificate yet", "name", name, "count", n)
		}
		return nil, fmt.Errorf("certificates: there is no certificate for %s yet", name)
	}
	best, err := certmagic.DefaultCertificateSelector(hello, all)
	return &best.Certificate, err
}

// answerChallenge answers a request of the CA, if there is a challenge for the
// host. It reports whether it did.
func (a *automatic) answerChallenge(w http.ResponseWriter, r *http.Request, host string) bool {
	// Without this look the library would read the account's key from the disk for
	// each request that a stranger makes up.
	if _, ok := certmagic.GetACMEChallenge(host); !ok {
		return false
	}
	return a.issuer.HandleHTTPChallenge(w, r)
}

// expiry returns when the last certificate for a domain ends, and zero if there is
// none.
func (a *automatic) expiry(name string) (last time.Time) {
	for _, c := range a.find(name) {
		if c.Leaf != nil && c.Leaf.NotAfter.After(last) {
			last = c.Leaf.NotAfter
		}
	}
	return last
}

// stop ends the library's renewals. It may be called again.
func (a *automatic) stop() { a.close.Do(a.cache.Stop) }
