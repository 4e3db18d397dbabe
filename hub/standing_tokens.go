package hub

import (
	"sync"

	"lectern/hub/credentials"
)

// standingTokens has the standing sessions by the tokens that were given in them. The zero
// value is empty. Its methods may be called from any goroutine.
type standingTokens struct {
	mu  sync.Mutex
	all map[credentials.Hash]*standing // guarded by mu
}

// find returns the standing session that a token was given in, nil if there is none. It
// may have ended by the time its worker looks.
func (t *standingTokens) find(token string) *Session {
	hash := credentials.HashOf(token)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.all[hash]; c != nil {
		return c.session
	}
	return nil
}

func (t *standingTokens) put(hash credentials.Hash, c *standing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[credentials.Hash]*standing)
	}
	t.all[hash] = c
}

// drop drops a token, unless it was given in a newer session since.
func (t *standingTokens) drop(hash credentials.Hash, c *standing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[hash] == c {
		delete(t.all, hash)
	}
	if len(t.all) == 0 {
		t.all = nil // a map never shrinks
	}
}

// learn notes a token that the client is told in the session because its role changes. The
// client's requests may still have the token from before, if it does not know the new one
// yet. So both find the session.
func (s *Session) learn(token string) {
	if c, ok := s.conn.(*standing); ok {
		c.learn(token)
	}
}

func (c *standing) learn(token string) {
	known := &c.session.shard.hub.tokensOf
	if c.tokens[1] != (credentials.Hash{}) {
		known.drop(c.tokens[1], c)
	}
	c.tokens[0], c.tokens[1] = credentials.HashOf(token), c.tokens[0]
	known.put(c.tokens[0], c)
}

// forgetTokens drops the tokens that were given in the session.
func (c *standing) forgetTokens() {
	for _, hash := range c.tokens {
		c.session.shard.hub.tokensOf.drop(hash, c)
	}
}

// enters notes that the session has entered its room, and returns the client's token.
// hostToken is the token that a host was told.
func (c *standing) enters(hostToken string) (token string) {
	s := c.session
	if token = hostToken; !s.has(flagHost) {
		token = string(s.room.AppendViewerToken(nil, s.id))
	}
	c.room = s.room.code
	c.learn(token)
	return token
}
