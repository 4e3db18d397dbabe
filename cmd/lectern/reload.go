package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
)

// follow reads the configuration again at each hangup, until ctx ends.
func (r *relay) follow(ctx context.Context, hangups <-chan os.Signal, again func() (*settings, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		next, err := again()
		if err != nil {
			r.log.Error("the configuration is as it was: the new one is refused", "error", err)
			continue
		}
		r.apply(next)
	}
}

// apply changes to the next settings what can be changed, and tells what it
// was and what needs a restart.
func (r *relay) apply(next *settings) {
	changed, restart := next.replace(r.current.Load())
	r.current.Store(next)
	r.hub.Configure(r.hubConfig(next))
	level := slog.Level(next.LogLevel)
	r.level.Set(min(r.level.Level(), level)) // this line is of both
	r.log.Info("the configuration was read again", "changed", changed, "need_restart", restart)
	r.level.Set(level)
	r.warnIfOpen()
}

// replace tells in what next differs from the settings that are in force, by
// name alone for keys. Options that are read at the start only are given the
// values that are in force.
func (next *settings) replace(old *settings) (changed, restart []string) {
	changed, restart = []string{}, []string{} // in the log [] and not null
	for i, set := range next.all {
		before, after := old.all[i].target, set.target
		if reflect.DeepEqual(before.Interface(), after.Interface()) {
			continue
		}
		difference := fmt.Sprintf("%s: %v -> %v", set.name, before, after)
		if set.restart {
			restart = append(restart, difference)
			after.Set(before)
			set.source = old.all[i].source
		} else {
			changed = append(changed, difference)
		}
	}
	for _, keys := range [][2]accessKey{{old.createKey, next.createKey}, {old.apiKey, next.apiKey}} {
		if keys[0].value.reveal() != keys[1].value.reveal() {
			changed = append(changed, keys[1].name)
		}
	}
	return changed, restart
}
