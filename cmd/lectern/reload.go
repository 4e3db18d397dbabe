package main

import (
	"context"
	"log/slog"
	"os"

	"lectern/cmd/lectern/internal/config"
	"lectern/cmd/lectern/internal/systemd"
)

// follow reads the configuration again at each hangup, until ctx ends.
func (r *relay) follow(ctx context.Context, hangups <-chan os.Signal, read func() (*config.Settings, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		r.tell(systemd.Reloading())
		if next, err := read(); err != nil {
			r.log.Error("the configuration is as it was: the new one is refused", "error", err)
		} else {
			r.apply(next)
		}
		r.tell(systemd.Ready())
	}
}

// apply puts the next settings in force as far as that needs no restart, and logs
// what has changed.
func (r *relay) apply(next *config.Settings) {
	changed, restart := next.Replace(r.current.Load())
	r.current.Store(next)
	r.hub.Configure(r.hubConfig(next))
	level := slog.Level(next.LogLevel)
	r.level.Set(min(r.level.Level(), level)) // so that this line is logged at both levels
	r.log.Info("the configuration was read again", "changed", changed, "need_restart", restart)
	r.level.Set(level)
	r.warn()
	r.certificates.reload()
}
