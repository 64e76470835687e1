package main

import (
	"context"
	"errors"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/email"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/internal/outgoing"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// emailConns are the connections of the part that sends e-mails to PostgreSQL.
const emailConns = 4

// emailPart tells people by e-mail what has happened. The hub is ready without it.
func (h *hub) emailPart() part {
	return part{"e-mail", func(ctx context.Context, ready func()) error {
		store, err := postgres.Open(ctx, h.DatabaseURL, postgres.Options{
			MaxConns: emailConns, DomainGate: h.DomainGate, Log: h.log, InLog: h.bus.Has, Wake: h.bus.Wake,
		})
		if err != nil {
			return named("DATABASE_URL", err)
		}
		defer store.Close()
		sender, done, err := h.emailSender()
		if err != nil {
			return named("EMAIL_URL", err)
		}
		defer done()
		signer, err := h.emailSigner()
		if err != nil {
			return named("EMAIL_HOOK_SECRET", err)
		}
		timeout := time.Duration(0) // that of services
		if strings.HasPrefix(h.EmailURL, "smtp") {
			timeout = email.SMTPTimeout
		}
		role, err := email.New(email.Config{
			Store: store, Sender: sender, From: h.EmailFrom, PublicURL: h.peopleAt(), ReplyDomain: h.EmailReplyDomain, Signer: signer,
			DMs:   email.DMConfig{Store: store, Reader: h.bus, After: h.DMEmailAfter},
			Quiet: h.EmailQuiet, Timeout: timeout, Logger: h.log, Registerer: h.reg,
		})
		if err != nil {
			return named("EMAIL_FROM", err)
		}
		return role.Run(ctx, ready)
	}}
}

func (h *hub) emailSender() (s email.Sender, done func(), err error) {
	if strings.HasPrefix(h.EmailURL, "smtp") {
		s, err = email.NewSMTPSender(h.EmailURL, nil)
		return s, func() {}, err
	}
	service, err := email.NewHTTPSender(h.EmailURL, h.EmailToken)
	if err != nil {
		return nil, nil, err
	}
	return service, service.Close, nil
}

// emailSigner signs reply addresses and links in e-mails. In prod without a secret there
// is none; in dev its key is made of that of sessions.
func (h *hub) emailSigner() (*vezechat.EmailSigner, error) {
	secrets, err := h.emailSecrets()
	if err != nil || len(secrets) == 0 {
		return nil, err
	}
	var keys [][]byte
	for _, s := range secrets {
		keys = append(keys, s.Derive("addresses of e-mails"))
	}
	return vezechat.NewEmailSigner(keys...), nil
}

func (h *hub) emailSecrets() ([]outgoing.Secret, error) {
	if h.EmailHookSecret != "" || !h.dev() {
		return outgoing.ParseSecrets(h.EmailHookSecret)
	}
	keys, err := h.devKey()
	if err != nil {
		return nil, err
	}
	return []outgoing.Secret{outgoing.NewSecretOf(keys[0], "hooks of e-mail")}, nil
}

// emailHook is how answers come; nil: they do not.
func (h *hub) emailHook() (*edge.EmailHook, error) {
	secrets, err := outgoing.ParseSecrets(h.EmailHookSecret)
	if err != nil || len(secrets) == 0 || h.EmailReplyDomain == "" {
		return nil, err
	}
	return &edge.EmailHook{Domain: h.EmailReplyDomain, Links: strings.TrimRight(h.peopleAt(), "/"), Verify: func(head http.Header, body []byte) error {
		return outgoing.Verify(head, time.Now(), body, secrets...)
	}}, nil
}

// isEmail checks what sending e-mails needs.
func (s *settings) isEmail() error {
	var errs []error
	if s.EmailURL != "" && s.has("bridge") {
		errs = append(errs, named("EMAIL_FROM", notEmpty(s.EmailFrom)))
		if !s.has("storage") {
			errs = append(errs, named("DATABASE_URL", notEmpty(s.DatabaseURL)))
		}
		if s.prod() { // without it nobody can unsubscribe
			errs = append(errs, named("EMAIL_HOOK_SECRET", notEmpty(s.EmailHookSecret)))
		}
	}
	if s.EmailReplyDomain != "" && (s.has("bridge") || s.has("edge")) {
		errs = append(errs, named("EMAIL_HOOK_SECRET", notEmpty(s.EmailHookSecret)))
	}
	return errors.Join(errs...)
}

func isAddress(v string) error {
	if v == "" {
		return nil
	}
	if _, err := mail.ParseAddress(v); err != nil {
		return errors.New("not an address such as Support <support@example.com>")
	}
	return nil
}

// isSecrets does not repeat them.
func isSecrets(v string) error {
	_, err := outgoing.ParseSecrets(v)
	if err != nil {
		return errors.New(vezechat.AsError(err).Message)
	}
	return nil
}

// peopleAt is where people find the hub.
func (h *hub) peopleAt() string {
	if h.PublicURL == "" && h.dev() {
		return "http://localhost:" + h.Port
	}
	return h.PublicURL
}

func isAfter(d time.Duration) error {
	if d == 0 {
		return nil
	}
	return isWithin(d, time.Minute, 7*24*time.Hour)
}
