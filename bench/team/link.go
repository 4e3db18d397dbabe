// Package team shares the viewers of a load test with other machines. One machine
// leads: it opens the rooms, publishes, and has a share of the viewers. Agents on
// the other machines have the rest. At some places of a run all wait for each other.
package team

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/workload"
)

// agentVersion is the version of what an agent and its leader tell each other.
const agentVersion = 3

// service is the name of what a leader calls.
const service = "Agent"

const (
	minToken   = 16               // bytes; a shorter one could be guessed
	greetLimit = 10 * time.Second // until both ends have shown that they have the token
)

// errToken says that the other end has another token.
var errToken = errors.New("the other end has another token")

// A Job is an agent's part of a run.
type Job struct {
	Version int              `json:"version"`
	Options workload.Options `json:"options"`
	Stages  []scenario.Stage `json:"stages,omitempty"`
	Shift   int64            `json:"shift"` // nanoseconds from the agent's clock to the run's
}

// An Outcome is what came of an agent's part.
type Outcome struct {
	Result *report.Result `json:"result,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// linkConfig returns the TLS configuration of the machine that leads a run and of an
// agent. Both derive one key from the token that they share, show a certificate
// with that key, and accept no other. So the link is encrypted and
// authenticated, and you need not make or copy certificates.
func linkConfig(token string) (*tls.Config, error) {
	if len(token) < minToken {
		return nil, workload.Refuse("a token of %d bytes could be guessed: it takes %d or more", len(token), minToken)
	}
	mac := hmac.New(sha256.New, []byte(token))
	_, _ = mac.Write([]byte("lectern bench agent"))
	key := ed25519.NewKeyFromSeed(mac.Sum(nil))
	public := key.Public().(ed25519.PublicKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<36, 0)}
	cert, err := x509.CreateCertificate(nil, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		ClientAuth:   tls.RequireAnyClientCert,
		// VerifyConnection looks for the one key instead of names and authorities.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if theirs, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey); !ok || !public.Equal(theirs) {
				return errToken
			}
			return nil
		},
		SessionTicketsDisabled: true,
	}, nil
}
