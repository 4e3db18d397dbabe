// Package selfsigned makes certificates that sign themselves, for load tests and for
// tests: who connects has to be told to trust them.
package selfsigned

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A Pair is a certificate and its key (ECDSA P-256), both in PEM.
type Pair struct{ Certificate, Key []byte }

// Loopback returns what names this machine: localhost and 127.0.0.1.
func Loopback() []string { return []string{"localhost", "127.0.0.1"} }

// sinceBefore is how long a certificate has been valid when it is made, so that it may
// also be made as one that has expired.
const sinceBefore = 48 * time.Hour

// New makes a certificate for host names and IP addresses, of which the first is its
// common name. It expires after life, which may be negative.
func New(life time.Duration, names ...string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("selfsigned: make a key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-sinceBefore), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("selfsigned: make a certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("selfsigned: encode a key: %w", err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}

// Write writes the pair into a folder, as certificate.pem and key.pem with mode 0600.
func (p Pair) Write(folder string) (certificate, key string, err error) {
	certificate, key = filepath.Join(folder, "certificate.pem"), filepath.Join(folder, "key.pem")
	return certificate, key, errors.Join(os.WriteFile(certificate, p.Certificate, 0o600), os.WriteFile(key, p.Key, 0o600))
}

// TLS returns configurations for a server with the certificate and for a client that
// trusts it.
func (p Pair) TLS() (server, client *tls.Config, err error) {
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("selfsigned: %w", err)
	}
	server = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return server, &tls.Config{RootCAs: p.Pool()}, nil
}

// Pool returns a pool that has the certificate alone.
func (p Pair) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.Certificate)
	return pool
}
