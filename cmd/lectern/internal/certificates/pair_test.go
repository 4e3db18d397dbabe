package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadPairsAreExplained looks at the error for each: it names the file and what
// is wrong with it.
func TestBadPairsAreExplained(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root", nil)
	middle := newAuthority(t, "middle", root)
	key, other := newKey(t), newKey(t)
	leaf := middle.leaf(t, key, time.Hour, "relay.test")
	expired := middle.leaf(t, key, -time.Hour, "relay.test")
	good, private := certPEM(leaf, middle.cert), keyPEM(t, key)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")})
	parameters, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(parameters)
	if err != nil {
		t.Fatal(err)
	}
	ecKey := append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6}}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)

	cases := map[string]struct {
		cert, key []byte
		want      string // CERT and KEY stand for the files; empty if the pair is good
	}{
		"good":                     {good, private, ""},
		"good with the root":       {certPEM(leaf, middle.cert, root.cert), private, ""},
		"good, key in one file":    {append(good, private...), append(good, private...), ""},
		"good, openssl ecparam":    {certPEM(middle.leaf(t, parameters, time.Hour, "a.test")), ecKey, ""},
		"good, a stranger besides": {certPEM(leaf, newAuthority(t, "stranger", nil).cert), private, ""},

		"empty":                  {nil, private, "CERT is not PEM: no line says BEGIN CERTIFICATE"},
		"DER":                    {leaf.Raw, private, "CERT is not PEM: no line says BEGIN CERTIFICATE; if it is DER, convert it with openssl x509 -inform der"},
		"text":                   {[]byte("hello"), private, "CERT is not PEM"},
		"swapped":                {private, good, "CERT has a private key and no certificate: are the two files swapped?"},
		"request":                {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST"}), private, `CERT has no certificate, but a block "CERTIFICATE REQUEST"`},
		"damaged":                {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw[:40]}), private, "CERT: certificate 1: x509: "},
		"damaged intermediate":   {append(certPEM(leaf), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw[:40]})...), private, "CERT: certificate 2: x509: "},
		"huge":                   {make([]byte, maxPEM+1), private, "CERT has more than 1048576 bytes"},
		"wrong order":            {certPEM(middle.cert, leaf), private, "CERT: the certificates are in the wrong order: the relay's own (relay.test) must be the first and is number 2"},
		"wrong order of issuers": {certPEM(leaf, root.cert, middle.cert), private, "CERT: the certificates are in the wrong order: the issuer of number 1 (relay.test) must follow it and is number 3"},
		"expired":                {certPEM(expired), private, "CERT: the certificate expired at " + expired.NotAfter.Format(time.RFC3339)},
		"weak":                   {certPEM(middle.leaf(t, weak, time.Hour, "a.test")), keyPEM(t, weak), "CERT: the RSA key has 1024 bits: it needs 2048"},

		"no key":             {good, nil, "KEY is not PEM: no line says BEGIN PRIVATE KEY"},
		"key in DER":         {good, []byte("\x30\x82"), "KEY is not PEM: no line says BEGIN PRIVATE KEY; if it is DER, convert it with openssl pkey -inform der"},
		"certificate twice":  {good, good, "KEY has a certificate and no private key: are the two files swapped?"},
		"public key":         {good, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"}), `KEY has no private key, but a block "PUBLIC KEY"`},
		"other key":          {good, keyPEM(t, other), "KEY: the private key does not belong to the certificate in CERT"},
		"key of other kind":  {good, keyPEM(t, weak), "KEY: the private key does not belong to the certificate in CERT"},
		"encrypted":          {good, encrypted, "KEY: the private key is encrypted: decrypt it with openssl pkey -in KEY -out NEW"},
		"encrypted, old way": {good, legacy, "KEY: the private key is encrypted"},
		"damaged key":        {good, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "KEY: tls: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			certFile, keyFile := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
			writeFile(t, certFile, c.cert)
			writeFile(t, keyFile, c.key)
			_, err := loadPair(certFile, keyFile, time.Now())
			want := strings.NewReplacer("CERT ", certFile+" ", "CERT:", certFile+":", "in CERT", "in "+certFile, "KEY:", keyFile+":", "KEY is", keyFile+" is", "KEY has", keyFile+" has", "-in KEY", "-in "+keyFile).Replace(c.want)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
	certFile, keyFile := middle.writePair(t, t.TempDir(), time.Hour, "relay.test")
	if _, err := loadPair(certFile, keyFile, time.Now().Add(-100*time.Hour)); err == nil || !strings.Contains(err.Error(), "is not valid before") {
		t.Errorf("too early: %v", err)
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := loadPair(certFile, keyFile, time.Now()); err == nil || !strings.Contains(err.Error(), keyFile) {
		t.Errorf("without the key's file: %v", err)
	}
	if _, err := loadPair("/nonexistent/cert.pem", keyFile, time.Now()); err == nil || !strings.Contains(err.Error(), "/nonexistent/cert.pem") {
		t.Errorf("without the certificate's file: %v", err)
	}
}
