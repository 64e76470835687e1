package vezechat

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Code says what kind of thing went wrong, in the closed set below. It is part
// of the hub's contract: clients branch on it.
type Code string

// The codes, and whether the same request may succeed later.
const (
	CodeBadRequest     Code = "bad_request"     // the request is malformed; never
	CodeUnauthorized   Code = "unauthorized"    // no or expired identity; after signing in
	CodeForbidden      Code = "forbidden"       // known, and not allowed; never
	CodeNotFound       Code = "not_found"       // not there, or not to be seen by this caller; never
	CodeConflict       Code = "conflict"        // taken, or changed meanwhile; after looking again
	CodeTooLarge       Code = "too_large"       // over a limit of size; never
	CodeBlockedContent Code = "blocked_content" // refused by moderation; never
	CodeMuted          Code = "muted"           // the caller may not post here now; when the mute ends
	CodeSlowMode       Code = "slow_mode"       // the room spaces messages out; after RetryAfter
	CodeRateLimited    Code = "rate_limited"    // over a rate; after RetryAfter
	CodeDomainGate     Code = "domain_gate"     // direct messages are kept to verified addresses of a domain; never
	CodeBadTransition  Code = "bad_transition"  // the ticket's state forbids the move; never
	CodeUnavailable    Code = "unavailable"     // a part of the hub is away; soon, with the same nonce
	CodeInternal       Code = "internal"        // a defect of the hub; perhaps
)

// Error is the one error type that crosses package borders. Code is for
// programs, Message for the person who asked, Err for the operator: it is logged
// and never shown.
type Error struct {
	Code       Code
	Message    string
	RetryAfter time.Duration // when trying again makes sense; 0: unknown
	HeldID     int64         // with CodeBlockedContent: the message waits for a moderator under this number
	Err        error
}

// Error returns the text for the operator.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error whose Message is formatted for the person who asked.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WrapError returns an Error with a cause for the operator. A nil cause is fine.
func WrapError(code Code, err error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// RetryIn returns a copy of e that says when to try again.
func (e *Error) RetryIn(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// CodeOf returns the code of err: that of the first Error in its chain,
// CodeUnavailable for a deadline that passed, else CodeInternal. A nil err has
// the empty code.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return CodeUnavailable
	default:
		return CodeInternal
	}
}

// AsError returns err as an Error that may be shown to whoever asked: unknown
// causes become CodeInternal with a message that says nothing of them.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if CodeOf(err) == CodeUnavailable {
		return &Error{Code: CodeUnavailable, Message: "the hub did not answer in time, try again", RetryAfter: time.Second, Err: err}
	}
	return &Error{Code: CodeInternal, Message: "something went wrong on our side", Err: err}
}

// Retryable reports whether the same request may succeed when sent again.
func (c Code) Retryable() bool {
	switch c {
	case CodeUnavailable, CodeRateLimited, CodeSlowMode, CodeInternal:
		return true
	}
	return false
}
