package certificates

import (
	"context"
	"crypto/tls"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// watchEvery is the time between two looks at the files of the certificate. A
// change is read when it has stood for one look, so that a new certificate does
// not meet the old key while somebody copies both.
const watchEvery = 2 * time.Second

// warnBefore is how long before the end of a certificate in files the log begins
// to warn, once a day. ACME has its own times.
const warnBefore = 14 * 24 * time.Hour

// A filePair is a certificate that somebody else renews.
type filePair struct {
	certFile, keyFile string                          // immutable
	current           atomic.Pointer[tls.Certificate] // with its Leaf

	mu     sync.Mutex   // held while the files are read
	loaded [2]signature // guarded by mu; of the files that were read last, whether good or bad
}

// A signature changes when a file is written or replaced.
type signature struct {
	modified time.Time
	size     int64
	inode    uint64
}

// signatures looks at both files. A missing one has the zero signature.
func (p *filePair) signatures() (all [2]signature) {
	for i, path := range [2]string{p.certFile, p.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		all[i] = signature{modified: info.ModTime(), size: info.Size()}
		if system, ok := info.Sys().(*syscall.Stat_t); ok {
			all[i].inode = system.Ino
		}
	}
	return all
}

// load reads the files. After an error the pair is the old one.
func (p *filePair) load(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = p.signatures() // before the read: what changes meanwhile is read again
	pair, err := loadPair(p.certFile, p.keyFile, now)
	if err != nil {
		return err
	}
	p.current.Store(pair)
	return nil
}

// certificate is called for each handshake. The pair serves clients that ask for
// another name too: they tell their users which name it has.
func (p *filePair) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.current.Load(), nil
}

// isLoaded reports whether files with these signatures were read last.
func (p *filePair) isLoaded(now [2]signature) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loaded == now
}

// watch reads the files when they change, until ctx ends.
func (c *Certificates) watch(ctx context.Context) {
	looks := time.NewTicker(watchEvery)
	defer looks.Stop()
	before := c.files.signatures()
	var warned time.Time
	for {
		if now := time.Now(); now.Sub(warned) >= 24*time.Hour {
			warned = now
			c.warnOfExpiry(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
		now := c.files.signatures()
		if now == before && !c.files.isLoaded(now) {
			_ = c.Reload() // which logs the error
		}
		before = now
	}
}

// warnOfExpiry logs that the certificate ends soon, or has ended.
func (c *Certificates) warnOfExpiry(now time.Time) {
	leaf := c.files.current.Load().Leaf
	switch left := leaf.NotAfter.Sub(now); {
	case left <= 0:
		c.log.Error("the certificate has expired", "file", c.files.certFile, "expired", leaf.NotAfter)
	case left < warnBefore:
		c.log.Warn("the certificate expires soon", "file", c.files.certFile, "expires", leaf.NotAfter)
	}
}
