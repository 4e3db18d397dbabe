package e2e

import (
	"os"
	"time"

	"lectern/netpoll/selfsigned"
)

// secure are the flags of a relay that speaks TLS. All clients of the tests trust its
// certificate.
var secure []string

// Secure returns the flags of a relay that speaks TLS, with the certificate that Main made.
func Secure() []string { return secure }

// makeCertificate makes a certificate, and has the clients trust it: Go and OpenSSL read
// SSL_CERT_FILE, Node reads NODE_EXTRA_CA_CERTS.
func makeCertificate(dir string) error {
	certificate, private, err := writeCertificate(dir)
	if err != nil {
		return err
	}
	for _, variable := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"} {
		if err := os.Setenv(variable, certificate); err != nil {
			return err
		}
	}
	secure = []string{"--tls-cert", certificate, "--tls-key", private}
	return nil
}

// writeCertificate writes a certificate for loopback and its key into a folder.
func writeCertificate(dir string) (certificate, private string, err error) {
	pair, err := selfsigned.New(24*time.Hour, selfsigned.Loopback()...)
	if err != nil {
		return "", "", err
	}
	return pair.Write(dir)
}
