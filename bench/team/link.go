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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/workload"
)

// A link is the connection between the machine that leads a run and an agent.
// Both ends derive one key from the token that they share, show a certificate
// with that key, and accept no other. So the link is encrypted and
// authenticated, and you need not make or copy certificates.
type link struct {
	conn  net.Conn
	in    *json.Decoder
	limit *io.LimitedReader // of one note

	mu  sync.Mutex // held to write
	out *json.Encoder
}

const (
	minToken   = 16               // bytes; a shorter one could be guessed
	maxNote    = 64 << 20         // bytes of one note: a result with its histograms
	greetLimit = 10 * time.Second // until both ends have shown that they have the token
)

// errToken says that the other end has another token.
var errToken = errors.New("the other end has another token")

// A note is a message between the two ends of a link. One of its fields is set.
type note struct {
	Job     *job     `json:"job,omitempty"`     // to the agent: what to do
	Ask     bool     `json:"ask,omitempty"`     // from the agent: what is the time?
	Now     int64    `json:"now,omitempty"`     // the answer, nanoseconds of the run's clock
	Reached string   `json:"reached,omitempty"` // from the agent: it waits at this place
	Go      *order   `json:"go,omitempty"`      // to the agent: all have reached it
	Done    *outcome `json:"done,omitempty"`    // from the agent: it has ended
}

// An order lets the agents go on from a place.
type order struct {
	Place string `json:"place"`
	engine.Order
}

// A job is an agent's part of a run.
type job struct {
	Version int              `json:"version"`
	Options workload.Options `json:"options"`
	Stages  []scenario.Stage `json:"stages,omitempty"`
}

// An outcome is what came of an agent's part.
type outcome struct {
	Result *report.Result `json:"result,omitempty"`
	Error  string         `json:"error,omitempty"`
	Within time.Duration  `json:"within_ns"` // how exactly it knew the run's clock
}

// linkConfig returns the TLS configuration of both ends.
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

func newLink(conn net.Conn) *link {
	l := &link{conn: conn, limit: &io.LimitedReader{R: conn}, out: json.NewEncoder(conn)}
	l.in = json.NewDecoder(l.limit)
	return l
}

func (l *link) send(n note) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(greetLimit))
	return l.out.Encode(n)
}

// receive waits for the next note.
func (l *link) receive() (n note, err error) {
	l.limit.N = maxNote
	err = l.in.Decode(&n)
	return n, err
}

func (l *link) close() { _ = l.conn.Close() }
