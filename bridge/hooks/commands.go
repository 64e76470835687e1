package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/outgoing"
)

// Targets knows where commands are called.
type Targets interface {
	CommandTarget(ctx context.Context, r vezechat.CommandRef) (vezechat.CommandTarget, error)
}

// Caller calls bots by HTTP, signed as deliveries are. It is safe for concurrent use.
type Caller struct {
	Targets Targets
	Client  *outgoing.Client // follows no redirects
	Clock   func() time.Time
}

// NewCommandClient returns the client that bots are called with. CodeInternal: see
// NewClient.
func NewCommandClient(allow []string) (*outgoing.Client, error) {
	return outgoing.New(outgoing.Config{Allow: allow, Timeout: vezechat.CommandTimeout, MaxAnswer: maxAnswer, Redirects: -1})
}

// commandType is the type of a call's body.
const commandType = "command"

// Call is the body of a call (Standard Webhooks 1.0.0, "Payload structure").
type Call struct {
	Type      string               `json:"type"` // "command"
	Timestamp time.Time            `json:"timestamp"`
	Data      vezechat.CommandCall `json:"data"`
}

// CallHook calls a command's address once. 204, or a body without text, is an answer that
// says nothing. CodeUnavailable: no answer that can be used.
func (c Caller) CallHook(ctx context.Context, ref vezechat.CommandRef, call vezechat.CommandCall) (r vezechat.CommandReply, err error) {
	to, err := c.Targets.CommandTarget(ctx, ref)
	if err != nil {
		return r, err
	}
	secret, err := outgoing.ParseSecret(to.Secret)
	if err != nil {
		return r, err
	}
	body, err := json.Marshal(Call{commandType, call.At, call})
	if err != nil {
		return r, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return r, vezechat.WrapError(vezechat.CodeUnavailable, err, "its address is malformed")
	}
	setTrace(req.Header, call.Trace)
	req.Header.Set("Content-Type", "application/json")
	outgoing.Sign(req.Header, call.ID, c.Clock(), body, secret)
	resp, err := c.Client.Do(req)
	if err != nil {
		return r, vezechat.WrapError(vezechat.CodeUnavailable, err, "%s", why(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return r, vezechat.Errorf(vezechat.CodeUnavailable, "it answered %d", resp.StatusCode)
	case err != nil:
		return r, vezechat.WrapError(vezechat.CodeUnavailable, err, "its answer cannot be read")
	case len(bytes.TrimSpace(answer)) == 0:
		return r, nil
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return r, vezechat.WrapError(vezechat.CodeUnavailable, err, "its answer cannot be read")
	}
	return r, nil
}
