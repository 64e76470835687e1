package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/url"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"

	"vezeuniqverse.com/vezechat"
)

// Ports of submission (RFC 8314 §3.3, RFC 6409 §3.1).
const (
	portSubmission  = 587
	portSubmissions = 465
)

// smtpStep bounds a step of sending: to connect, to be greeted and let in, to hand over.
const smtpStep = 25 * time.Second

// SMTPTimeout is what a try by SMTP needs at least of Config.Timeout.
const SMTPTimeout = 60 * time.Second

// SMTPSender hands e-mails to a server by SMTP (RFC 5321), each over a connection of its
// own. A server knows no Idempotency-Key: see the package's promises.
type SMTPSender struct {
	host    string
	options []mail.Option
}

// NewSMTPSender returns a sender to smtp://user:password@host:587, which begins in the
// clear and goes on by STARTTLS, or smtps://host:465, which is TLS from the start. A name
// and a password are never sent in the clear: with them smtp:// insists on STARTTLS.
// roots may be nil: those of the machine are trusted. CodeBadRequest: it is no such
// address.
func NewSMTPSender(address string, roots *tls.Config) (*SMTPSender, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "not an address as smtp://user:password@host:587")
	}
	port := portSubmission
	if u.Scheme == "smtps" {
		port = portSubmissions
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return nil, vezechat.Errorf(vezechat.CodeBadRequest, "not a port of an SMTP server")
		}
	}
	s := &SMTPSender{host: u.Hostname(), options: []mail.Option{mail.WithPort(port), mail.WithTimeout(smtpStep)}}
	policy := mail.TLSOpportunistic
	if password, has := u.User.Password(); has {
		policy = mail.TLSMandatory
		s.options = append(s.options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if roots != nil {
		c = roots.Clone()
	}
	c.ServerName = s.host
	if u.Scheme == "smtps" {
		s.options = append(s.options, mail.WithSSL(), mail.WithTLSConfig(c))
	} else {
		s.options = append(s.options, mail.WithTLSPolicy(policy), mail.WithTLSConfig(c))
	}
	_, err = mail.NewClient(s.host, s.options...)
	if err != nil {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "not an address as smtp://user:password@host:587")
	}
	return s, nil
}

// Send implements Sender. What a server refuses for good (RFC 5321 §4.2.1, 5yz) is
// CodeBadRequest, but for refusals of the hub itself, which are not of the e-mail.
func (s *SMTPSender) Send(ctx context.Context, o vezechat.OutgoingEmail) error {
	m, err := letter(o)
	if err != nil {
		return vezechat.WrapError(vezechat.CodeBadRequest, err, "the e-mail cannot be sent")
	}
	c, err := mail.NewClient(s.host, s.options...)
	if err != nil {
		return vezechat.WrapError(vezechat.CodeInternal, err, "the e-mail cannot be sent")
	}
	err = c.DialAndSendWithContext(ctx, m)
	var refused *mail.SendError
	switch {
	case err == nil, m.IsDelivered(): // the server has it, however it says goodbye (RFC 5321 §4.2.5)
		return nil
	case errors.As(err, &refused) && refused.ErrorCode() >= 500 && !ours(refused.ErrorCode()):
		return vezechat.WrapError(vezechat.CodeBadRequest, err, "the mail server refuses the e-mail")
	}
	return vezechat.WrapError(vezechat.CodeUnavailable, err, "the mail server does not take it now")
}

// ours reports whether a refusal is of the hub: it must authenticate (RFC 4954 §6), or
// its command is not known.
func ours(code int) bool {
	switch code {
	case 500, 501, 502, 503, 504, 530, 534, 535, 538:
		return true
	}
	return false
}

// letter is an e-mail as the library has it. Its bytes are the same at each try.
func letter(o vezechat.OutgoingEmail) (*mail.Msg, error) {
	e := &o.Mail
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	from, err := netmail.ParseAddress(e.From)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	m.FromMailAddress(from)
	if err := m.To(e.To); err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	if e.ReplyTo != "" {
		if err := m.ReplyTo(e.ReplyTo); err != nil {
			return nil, fmt.Errorf("reply to: %w", err)
		}
		if err := m.EnvelopeFrom(e.ReplyTo); err != nil { // bounces name the ticket and whose e-mail it was
			return nil, fmt.Errorf("envelope: %w", err)
		}
	}
	m.Subject(e.Subject)
	m.SetDateWithValue(e.Date)
	m.SetMessageIDWithValue(e.MessageID)
	m.SetBoundary("vezechat-" + o.Key)
	for k, v := range headers(o) {
		m.SetGenHeader(mail.Header(k), v)
	}
	m.SetBodyString(mail.TypeTextPlain, e.Text)
	m.AddAlternativeString(mail.TypeTextHTML, e.HTML)
	return m, nil
}
