package certificates

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap/zapcore"
)

// A libraryLog takes what certmagic logs with zap. What the library calls
// information is for debugging here: it tells each step of each renewal.
type libraryLog struct{ log *slog.Logger }

func levelOf(level zapcore.Level) slog.Level {
	switch {
	case level <= zapcore.InfoLevel:
		return slog.LevelDebug
	case level == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

// isDetail reports whether an entry tells part of a failure. The relay, or the
// library's job, logs the failure itself in one line.
func isDetail(entry zapcore.Entry) bool {
	return entry.LoggerName == "obtain" || entry.LoggerName == "renew" || strings.HasSuffix(entry.LoggerName, "acme_client")
}

// Enabled reports whether a level is logged.
func (l libraryLog) Enabled(level zapcore.Level) bool {
	return l.log.Enabled(context.Background(), levelOf(level))
}

// With adds fields to all lines.
func (l libraryLog) With(fields []zapcore.Field) zapcore.Core {
	return libraryLog{l.log.With(attributes(fields)...)}
}

// Check adds the core to an entry that is logged.
func (l libraryLog) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if isDetail(entry) {
		entry.Level = zapcore.DebugLevel
	}
	if l.Enabled(entry.Level) {
		return checked.AddCore(entry, l)
	}
	return checked
}

// Write logs an entry.
func (l libraryLog) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	text := "acme: " + entry.Message
	if entry.Message == "job failed" { // the library has no other jobs here
		text = "a certificate was not renewed"
	}
	l.log.Log(context.Background(), levelOf(entry.Level), text, attributes(fields)...)
	return nil
}

// Sync does nothing: the log has no buffer.
func (l libraryLog) Sync() error { return nil }

// attributes converts fields in their order.
func attributes(fields []zapcore.Field) (all []any) {
	for _, field := range fields {
		values := zapcore.NewMapObjectEncoder()
		field.AddTo(values)
		if value, ok := values.Fields[field.Key]; ok {
			all = append(all, slog.Any(field.Key, value))
		}
	}
	return all
}
