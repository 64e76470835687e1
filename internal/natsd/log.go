package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
)

// logger writes what the server says to slog, one level down: its notices are
// about itself, and a person wants to know what the hub makes of them.
type logger struct {
	log   *slog.Logger
	fatal chan error // the first reason for which the server cannot go on
}

func newLogger(l *slog.Logger) *logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &logger{log: l, fatal: make(chan error, 1)}
}

func (l *logger) debug(ctx context.Context) bool { return l.log.Enabled(ctx, slog.LevelDebug-4) }

// Noticef logs what the server does as a matter of course.
func (l *logger) Noticef(format string, v ...any) { l.put(slog.LevelDebug, format, v) }

// Warnf logs what someone should look at.
func (l *logger) Warnf(format string, v ...any) { l.put(slog.LevelWarn, format, v) }

// ofClient is in what the server says of one client: it is what that one does wrong, as
// a wrong password or a subject that is not its own.
var ofClient = regexp.MustCompile(` - cid:\d+ - `)

// Errorf logs what someone must look at. What clients do wrong is none of that: whoever
// reaches the port could else raise alarms.
func (l *logger) Errorf(format string, v ...any) {
	level := slog.LevelError
	if ofClient.MatchString(format) {
		level = slog.LevelWarn
	}
	l.put(level, format, v)
}

// Fatalf keeps the reason for Start. Unlike the server's own logger it does not
// end the process.
func (l *logger) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf("nats server: "+format, v...):
	default:
		l.put(slog.LevelError, format, v)
	}
}

// Debugf logs the server's inner life, when somebody asked for more than debug.
func (l *logger) Debugf(format string, v ...any) { l.put(slog.LevelDebug-4, format, v) }

// Tracef is the traffic itself, with what people wrote: never logged.
func (l *logger) Tracef(string, ...any) {}

func (l *logger) put(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "nats server", "line", fmt.Sprintf(format, v...))
}
