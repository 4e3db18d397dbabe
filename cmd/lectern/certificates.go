package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"lectern/cmd/lectern/internal/certificates"
	"lectern/cmd/lectern/internal/config"
)

// A certificateKeeper has the relay's certificates, and the server of plain HTTP
// beside TLS. The zero certificateKeeper does nothing: the relay speaks no TLS.
type certificateKeeper struct {
	all      *certificates.Certificates // immutable after openCertificates; nil without TLS
	redirect *http.Server               // immutable after openCertificates; nil without --redirect-addr
	listener net.Listener               // immutable after openCertificates; of redirect
	cancel   context.CancelFunc         // owned by run and stop
	running  sync.WaitGroup
}

// openCertificates reads the certificates and opens --redirect-addr. addr is where
// the relay listens. Nothing is served before run.
func openCertificates(ctx context.Context, o *config.Options, addr string, log *slog.Logger) (*certificateKeeper, error) {
	k := new(certificateKeeper)
	if !o.HasTLS() {
		return k, nil
	}
	settings, err := certificateConfig(o, addr)
	if err != nil {
		return nil, err
	}
	settings.Log = log
	if o.RedirectAddr != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.RedirectAddr)
		if err != nil {
			return nil, fmt.Errorf("--redirect-addr (may be empty): %w", err)
		}
		k.listener = &redirectListener{Listener: l}
		settings.HTTPAddr = l.Addr().String()
	}
	if k.all, err = certificates.Open(ctx, settings); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", certificateOption(o), err), k.stop())
	}
	if k.listener != nil {
		k.redirect = newRedirectServer(k.all.Redirect(addr), log)
	}
	return k, nil
}

// certificateOption returns the option that errors about certificates name.
func certificateOption(o *config.Options) string {
	if o.TLSCert != "" {
		return "--tls-cert"
	}
	return "--domain"
}

// certificateConfig returns the settings that concern certificates, but for
// --redirect-addr.
func certificateConfig(o *config.Options, addr string) (certificates.Config, error) {
	c := certificates.Config{
		CertFile: o.TLSCert, KeyFile: o.TLSKey, CA: o.ACMECA, CARoots: o.ACMECARoot, Email: o.ACMEEmail, TLSAddr: addr,
	}
	for _, name := range o.Domain {
		c.Domains = append(c.Domains, string(name))
	}
	if o.Data != "" {
		c.TicketFile = filepath.Join(o.Data, "tls", "ticket-keys")
	}
	if len(c.Domains) == 0 {
		return c, nil
	}
	var err error
	c.Storage, err = certificateStorage(o)
	return c, err
}

// certificateStorage returns the folder for the certificates of --domain.
func certificateStorage(o *config.Options) (string, error) {
	folder := o.Data
	if folder == "" {
		folder = config.StateFolder(os.Getenv)
	}
	if folder == "" {
		return "", errors.New("--domain: there is no place for certificates: set --data, or $HOME")
	}
	return filepath.Join(folder, "tls"), nil
}

// tryCertificates does what openCertificates would do, and undoes it. It asks no CA.
func tryCertificates(ctx context.Context, s *config.Settings, look func(name, warning string, err error)) {
	if !s.HasTLS() {
		return
	}
	option := strings.TrimPrefix(certificateOption(&s.Options), "--")
	c, err := certificateConfig(&s.Options, s.Addr)
	look(option, "", err)
	if c.Storage != "" {
		look(option, "", tryDirectory(c.Storage))
	}
	warnings, err := certificates.Check(c)
	look(option, strings.Join(warnings, "; "), err)
	if s.RedirectAddr != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.RedirectAddr)
		switch {
		case err == nil:
			_ = l.Close()
		case errors.Is(err, syscall.EADDRINUSE) && isLive(ctx, "https", s.Addr):
			look("redirect-addr", "a relay runs at "+s.Addr+" already", nil)
		default:
			look("redirect-addr", "", err)
		}
	}
}

// tlsConfig returns the configuration of the relay's own address, nil without TLS.
func (k *certificateKeeper) tlsConfig() *tls.Config {
	if k.all == nil {
		return nil
	}
	return k.all.TLS()
}

// run renews certificates and redirects until stop. The relay's own address must be
// open. failed is told if --redirect-addr cannot be served any more.
func (k *certificateKeeper) run(failed func(error)) {
	if k.all == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.running.Go(func() { k.all.Run(ctx) })
	if k.redirect != nil {
		k.running.Go(func() {
			if err := k.redirect.Serve(k.listener); !errors.Is(err, http.ErrServerClosed) {
				failed(fmt.Errorf("redirect: %w", err))
			}
		})
	}
}

// reload reads the files of --tls-cert again. Errors are logged.
func (k *certificateKeeper) reload() {
	if k.all != nil {
		_ = k.all.Reload()
	}
}

// expiries calls yield for each certificate.
func (k *certificateKeeper) expiries(yield func(name string, notAfter time.Time)) {
	if k.all != nil {
		k.all.Expiries(yield)
	}
}

// stop ends what run began. Handshakes go on with the certificates at hand.
func (k *certificateKeeper) stop() (err error) {
	if k.cancel != nil {
		k.cancel()
	}
	switch {
	case k.redirect != nil:
		err = k.redirect.Close()
	case k.listener != nil:
		err = k.listener.Close()
	}
	k.running.Wait()
	if k.all != nil {
		k.all.Close()
	}
	return err
}
