package certificates

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxPEM bounds a file of certificates or keys, in bytes.
const maxPEM = 1 << 20

// minRSA is the shortest RSA key that Mozilla's intermediate set allows, in bits.
const minRSA = 2048

// loadPair reads a certificate chain and its private key. An error names the file
// and says what is wrong with it. now decides whether the certificate is valid.
func loadPair(certFile, keyFile string, now time.Time) (*tls.Certificate, error) {
	certPEM, err := readPEM(certFile)
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(certFile, certPEM)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readPEM(keyFile)
	if err != nil {
		return nil, err
	}
	if err := checkKeyBlocks(keyFile, keyPEM); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, explainMismatch(certFile, keyFile, chain, keyPEM, err)
	}
	leaf := chain[0]
	if err := checkOrder(certFile, chain); err != nil {
		return nil, err
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
		return nil, fmt.Errorf("%s: the RSA key has %d bits: it needs %d", certFile, key.N.BitLen(), minRSA)
	}
	if now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("%s: the certificate expired at %s", certFile, leaf.NotAfter.Format(time.RFC3339))
	}
	if now.Before(leaf.NotBefore) {
		return nil, fmt.Errorf("%s: the certificate is not valid before %s; check the clock", certFile, leaf.NotBefore.Format(time.RFC3339))
	}
	pair.Leaf = leaf
	return &pair, nil
}

// readPEM reads a file of at most maxPEM bytes. The error names the file.
func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPEM {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxPEM)
	}
	return text, nil
}

// parseChain returns the certificates of a file, at least one.
func parseChain(path string, text []byte) (chain []*x509.Certificate, err error) {
	other := ""
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			other = block.Type
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	switch {
	case chain != nil:
		return chain, nil
	case strings.HasSuffix(other, "PRIVATE KEY"):
		return nil, fmt.Errorf("%s has a private key and no certificate: are the two files swapped?", path)
	case other != "":
		return nil, fmt.Errorf("%s has no certificate, but a block %q", path, other)
	}
	return nil, fmt.Errorf("%s is not PEM: no line says BEGIN CERTIFICATE%s", path, derHint(text, "x509"))
}

// checkKeyBlocks refuses files in which crypto/tls would find no usable key.
func checkKeyBlocks(path string, text []byte) error {
	other := ""
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			other = block.Type
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return fmt.Errorf("%s: the private key is encrypted: decrypt it with openssl pkey -in %[1]s -out NEW", path)
		}
		return nil
	}
	switch other {
	case "":
		return fmt.Errorf("%s is not PEM: no line says BEGIN PRIVATE KEY%s", path, derHint(text, "pkey"))
	case "CERTIFICATE":
		return fmt.Errorf("%s has a certificate and no private key: are the two files swapped?", path)
	}
	return fmt.Errorf("%s has no private key, but a block %q", path, other)
}

// derHint tells how to convert a binary file, if the text looks like DER.
func derHint(text []byte, command string) string {
	if len(text) > 0 && text[0] == 0x30 { // an ASN.1 sequence
		return "; if it is DER, convert it with openssl " + command + " -inform der"
	}
	return ""
}

// explainMismatch says why crypto/tls refuses a pair whose files can be read.
func explainMismatch(certFile, keyFile string, chain []*x509.Certificate, keyPEM []byte, cause error) error {
	for i, c := range chain[1:] {
		one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		if _, err := tls.X509KeyPair(one, keyPEM); err == nil {
			return fmt.Errorf("%s: the certificates are in the wrong order: the relay's own (%s) must be the first and is number %d", certFile, nameOf(c), i+2)
		}
	}
	if strings.Contains(cause.Error(), "does not match") { // the library has no value for it
		return fmt.Errorf("%s: the private key does not belong to the certificate in %s", keyFile, certFile)
	}
	return fmt.Errorf("%s: %w", keyFile, cause)
}

// checkOrder refuses a chain in which the issuer of a certificate is anywhere but
// directly after it. Old clients try no other order (RFC 5246 7.4.2).
func checkOrder(path string, chain []*x509.Certificate) error {
	isIssuer := func(c, of *x509.Certificate) bool { return bytes.Equal(c.RawSubject, of.RawIssuer) }
	for i, c := range chain {
		if i+1 == len(chain) || isIssuer(c, c) || isIssuer(chain[i+1], c) {
			continue
		}
		for at, other := range chain {
			if isIssuer(other, c) {
				return fmt.Errorf("%s: the certificates are in the wrong order: the issuer of number %d (%s) must follow it and is number %d", path, i+1, nameOf(c), at+1)
			}
		}
	}
	return nil
}

// nameOf returns the name under which people know a certificate.
func nameOf(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}
