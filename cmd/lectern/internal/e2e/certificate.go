package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certificate, private = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, private: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return "", "", err
		}
	}
	return certificate, private, nil
}
