package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"vezeuniqverse.com/vezechat"
)

// translate is the one place where PostgreSQL's errors become the hub's. Those
// that are the hub's already stay as they are.
func translate(err error) error {
	var own *vezechat.Error
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own), typed(err):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return vezechat.WrapError(vezechat.CodeNotFound, err, "not found")
	case errors.As(err, &pg):
		return fromServer(pg)
	case away(err):
		return vezechat.WrapError(vezechat.CodeUnavailable, redact(err), "storage is away, try again").RetryIn(time.Second)
	}
	return vezechat.WrapError(vezechat.CodeInternal, err, "something went wrong on our side")
}

// typed reports whether err is one of the log's errors, which callers tell apart.
func typed(err error) bool {
	var stale *vezechat.StaleError
	var poison *vezechat.PoisonError
	var fork *vezechat.ForkError
	return errors.As(err, &stale) || errors.As(err, &poison) || errors.As(err, &fork)
}

// fromServer goes by the class of SQLSTATE (PostgreSQL manual, appendix A).
func fromServer(pg *pgconn.PgError) error {
	switch class := pg.Code[:2]; {
	case class == "08", class == "53", class == "57", class == "58", class == "40", pg.Code == "55P03", pg.Code == "25006", pg.Code == "25P03":
		return vezechat.WrapError(vezechat.CodeUnavailable, pg, "storage is busy, try again").RetryIn(time.Second)
	case pg.Code == "23505":
		return vezechat.WrapError(vezechat.CodeConflict, pg, "that is taken")
	case class == "22", class == "23":
		return vezechat.WrapError(vezechat.CodeBadRequest, pg, "that cannot be stored")
	}
	return vezechat.WrapError(vezechat.CodeInternal, pg, "something went wrong on our side")
}

// away reports whether the server could not be reached or stopped answering.
func away(err error) bool {
	var netErr net.Error
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || errors.As(err, &netErr) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// violates reports whether err is a violation of the named unique index.
func violates(err error, index ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "23505" {
		return false
	}
	for _, i := range index {
		if pg.ConstraintName == i {
			return true
		}
	}
	return false
}

// foreign reports whether err is a reference to what is not there.
func foreign(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23503"
}

var missingKey = regexp.MustCompile(`^Key \((\w+)\)=\((\d+)\)`)

// missing is CodeBadRequest for an error that is foreign: the field that names something that is
// not there, and its number.
func missing(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if m := missingKey.FindStringSubmatch(pg.Detail); m != nil {
			return vezechat.WrapError(vezechat.CodeBadRequest, err, "%s: there is no %s", m[1], m[2])
		}
	}
	return vezechat.WrapError(vezechat.CodeBadRequest, err, "something is named that is not there")
}

// refused reports whether the server refuses the data itself, for ever.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code[:2] == "22" || pg.Code[:2] == "23")
}

var password = regexp.MustCompile(`(://[^:/@\s]*):[^@\s]*@|(password=)\S+`)

// redact keeps passwords of connection strings out of logs.
func redact(err error) error {
	if clean := password.ReplaceAllString(err.Error(), "$1$2***@"); clean != err.Error() {
		return errors.New(clean)
	}
	return err
}
