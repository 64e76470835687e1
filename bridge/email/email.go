// Package email tells people by e-mail what has happened while they were away: updates of
// their tickets, and direct messages that they have not read.
//
// It promises that
//
//   - each update is told once: it is added to the recipient's e-mail in the transaction
//     that notes how far the events were read, so that a process may be killed at any
//     point;
//   - a recipient gets one e-mail of a ticket in each quiet period, with all that happened
//     in it, and none of what they have read meanwhile;
//   - an e-mail is composed once, and is the same bytes under the same key at each try. A
//     service that keeps to Idempotency-Key sends it once; by SMTP one that was taken in the
//     moment in which the process died, whose answer was lost, or that could not be noted as
//     sent before its claim ran out, is sent again, with the same Message-ID;
//   - what cannot be sent is tried again, later each time, and then waits among the dead
//     for an administrator. Nothing is lost while the mail service is away.
//
// Any number of processes may run it: each e-mail is claimed by one. It knows no SQL and no
// NATS.
package email

import (
	"cmp"
	"context"
	"log/slog"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
	render "vezeuniqverse.com/vezechat/templates/mail"
)

// Store keeps e-mails; storage/postgres has the details. Implementations are safe for
// concurrent use, also by other processes.
type Store interface {
	// CollectEmails adds what has happened to the e-mails of those whom it concerns.
	CollectEmails(ctx context.Context, quiet time.Duration, limit int) (n int, err error)
	// ComposeEmail composes one e-mail that is due, or drops it and says why.
	ComposeEmail(ctx context.Context, quiet time.Duration, compose func(vezechat.EmailDraft) (vezechat.EmailMessage, error)) (none bool, dropped string, err error)
	// ClaimEmails takes e-mails to be tried, for as long as lease.
	ClaimEmails(ctx context.Context, lease time.Duration, limit int) ([]vezechat.OutgoingEmail, error)
	// These note what became of a try.
	SentEmail(ctx context.Context, id vezechat.EmailID) error
	FailedEmail(ctx context.Context, o vezechat.OutgoingEmail, why string, wait time.Duration) error
	BuryEmail(ctx context.Context, o vezechat.OutgoingEmail, why string) error
	// EmailBacklog tells what has yet to be sent.
	EmailBacklog(ctx context.Context) (vezechat.EmailBacklog, error)
}

// Sender hands an e-mail to whoever carries it. CodeUnavailable: it may be tried again,
// with RetryAfter no sooner than then; any other error: it is of no use. It keeps to
// ctx's deadline and is safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, o vezechat.OutgoingEmail) error
}

// Config says what a Role is made of. Store, Sender and From must be set.
type Config struct {
	Store  Store
	Sender Sender

	From        string                // the hub's address, perhaps with a name
	PublicURL   string                // where people find the hub; empty: e-mails have no links
	ReplyDomain string                // whose reply addresses come back to the hub; empty: none
	Signer      *vezechat.EmailSigner // nil: no reply addresses and no links to unsubscribe

	DMs DMConfig // Reader nil, or After 0: direct messages are not told of

	Quiet    time.Duration // 0: DefaultQuiet
	MaxTries int           // 0: DefaultTries
	Timeout  time.Duration // of a try; 0: 20 s
	First    time.Duration // after the first try that came to nothing; twice as long each time; 0: 30 s
	Last     time.Duration // at most; 0: 1 h
	Poll     time.Duration // how often to look; 0: 1 s

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Defaults and bounds.
const (
	DefaultQuiet = 2 * time.Minute
	DefaultTries = 12 // over about six hours

	batch       = 200 // events read at once
	atOnce      = 8   // e-mails tried side by side
	measureEach = 15 * time.Second
)

// Role sends e-mails.
type Role struct {
	cfg      Config
	domain   string // of From, for Message-IDs
	renderer *render.Renderer
	metrics  *metrics
	trouble  *retry.Trouble
}

// New returns a role that does nothing until Run. CodeBadRequest: From is no address.
func New(cfg Config) (*Role, error) {
	from, err := mail.ParseAddress(cfg.From)
	if err != nil {
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, err, "the address that e-mails are from is none")
	}
	cfg.From = from.String()
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	cfg.Quiet, cfg.MaxTries = cmp.Or(cfg.Quiet, DefaultQuiet), cmp.Or(cfg.MaxTries, DefaultTries)
	cfg.Timeout, cfg.Poll = cmp.Or(cfg.Timeout, 20*time.Second), cmp.Or(cfg.Poll, time.Second)
	cfg.First, cfg.Last = cmp.Or(cfg.First, 30*time.Second), cmp.Or(cfg.Last, time.Hour)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	r := &Role{cfg: cfg, metrics: newMetrics(cfg.Registerer)}
	_, r.domain, _ = strings.Cut(from.Address, "@")
	r.trouble = retry.NewTrouble(cfg.Logger, r.metrics.retries)
	r.renderer, err = render.New()
	return r, err
}

// Run sends until ctx is done. It is ready at once: the hub does not wait for its mail.
func (r *Role) Run(ctx context.Context, ready func()) error {
	ready()
	var wg sync.WaitGroup
	wg.Go(func() { r.loop(ctx, "collect", r.collect) })
	wg.Go(func() { r.loop(ctx, "compose", r.compose) })
	wg.Go(func() { r.loop(ctx, "send", r.send) })
	wg.Go(func() { r.measure(ctx) })
	if r.cfg.DMs.Reader != nil && r.cfg.DMs.After > 0 {
		wg.Go(func() { r.readDMs(ctx) })
		wg.Go(func() { r.loop(ctx, "due", r.tellDMs) })
	}
	wg.Wait()
	return nil
}

// loop does a part's work again and again: at once while there is more, else after Poll,
// and after a failure later each time.
func (r *Role) loop(ctx context.Context, part string, work func(context.Context) (more bool, err error)) {
	wait := retry.Backoff{First: r.cfg.Poll, Last: 10 * r.cfg.Poll}
	for ctx.Err() == nil {
		more, err := work(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.trouble.Met(part, string(vezechat.CodeOf(err)), err)
			wait.Sleep(ctx)
		case more:
		default:
			r.trouble.Over(part)
			wait.Reset()
			retry.Sleep(ctx, retry.Jitter(r.cfg.Poll))
		}
	}
}

func (r *Role) collect(ctx context.Context) (more bool, err error) {
	n, err := r.cfg.Store.CollectEmails(ctx, r.cfg.Quiet, batch)
	return n == batch, err
}

func (r *Role) compose(ctx context.Context) (more bool, err error) {
	none, dropped, err := r.cfg.Store.ComposeEmail(ctx, r.cfg.Quiet, r.message)
	if dropped != "" && err == nil {
		r.metrics.dropped.WithLabelValues(dropped).Inc()
	}
	return !none, err
}

// message composes an e-mail.
func (r *Role) message(d vezechat.EmailDraft) (vezechat.EmailMessage, error) {
	m := vezechat.EmailMessage{
		From: r.cfg.From, To: (&mail.Address{Address: d.To.Email}).String(),
		MessageID: d.Key + "@" + r.domain, References: "ticket-" + d.Ticket.ID.String() + "@" + r.domain, Date: time.Now().UTC().Truncate(time.Second),
	}
	var at render.Places
	if r.cfg.Signer != nil {
		if r.cfg.ReplyDomain != "" {
			m.ReplyTo, at.Answer = r.cfg.Signer.ReplyAddress(d.Ticket.ID, d.To.ID, r.cfg.ReplyDomain), true
		}
		if r.cfg.PublicURL != "" {
			m.Unsubscribe = r.cfg.PublicURL + "/email/unsubscribe?user=" + d.To.ID.String() + "&kind=" + string(d.Kind) + "&proof=" + r.cfg.Signer.Unsubscribe(d.To.ID, d.Kind)
			at.Unsubscribe = m.Unsubscribe
		}
	}
	if r.cfg.PublicURL != "" {
		at.Link = r.cfg.PublicURL + pathOf(&d)
	}
	body, err := r.renderer.Render(d, at)
	m.Subject, m.Text, m.HTML = body.Subject, body.Text, body.HTML
	return m, err
}

// pathOf is where the hub shows what an e-mail tells of.
func pathOf(d *vezechat.EmailDraft) string {
	switch {
	case d.Kind == vezechat.EmailDM:
		return "/rooms/" + d.Room.String()
	case d.To.Guest:
		return "/support"
	}
	return "/tickets/" + d.Ticket.ID.String()
}

// send tries what is due, side by side.
func (r *Role) send(ctx context.Context) (more bool, err error) {
	list, err := r.cfg.Store.ClaimEmails(ctx, r.cfg.Timeout*3/2+time.Second, atOnce)
	if err != nil {
		return false, err
	}
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, o := range list {
		wg.Go(func() { errs[i] = r.try(ctx, o) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return false, err
		}
	}
	return len(list) == atOnce, nil
}

// try tries one e-mail and notes what became of it. What is not noted, as the process is
// being stopped or the store is away, is tried again when the claim has run out.
func (r *Role) try(ctx context.Context, o vezechat.OutgoingEmail) error {
	began := time.Now()
	sending, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	err := r.cfg.Sender.Send(sending, o)
	cancel()
	r.metrics.took.Observe(time.Since(began).Seconds())
	if err == nil {
		if err := r.noteSent(ctx, o, began.Add(r.cfg.Timeout*3/2)); err != nil {
			return err
		}
		r.metrics.sent.Inc()
		r.metrics.delay.Observe(time.Since(o.Since).Seconds())
		return nil
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // being stopped is no failure
	}
	e := vezechat.AsError(err)
	r.metrics.failures.WithLabelValues(string(e.Code)).Inc()
	if e.Code != vezechat.CodeUnavailable || o.Try >= r.cfg.MaxTries {
		r.metrics.died.Inc()
		r.cfg.Logger.Warn("an e-mail is given up", "email", o.ID, "tries", o.Try, "error", err)
		return r.cfg.Store.BuryEmail(ctx, o, err.Error())
	}
	r.cfg.Logger.Debug("an e-mail was not sent, and is tried again", "email", o.ID, "try", o.Try, "error", err)
	return r.cfg.Store.FailedEmail(ctx, o, err.Error(), r.wait(o.Try, e.RetryAfter))
}

// noteSent notes that an e-mail was sent: until its claim runs out, though storage is away,
// and at least once, though the process is being stopped. What is not noted is sent again.
func (r *Role) noteSent(ctx context.Context, o vezechat.OutgoingEmail, until time.Time) error {
	wait := retry.Backoff{First: r.cfg.Poll, Last: time.Second}
	for {
		noting, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
		err := r.cfg.Store.SentEmail(noting, o.ID)
		cancel()
		if err == nil {
			r.trouble.Over("note")
			return nil
		}
		if ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		r.trouble.Met("note", string(vezechat.CodeOf(err)), err)
		wait.Sleep(ctx)
	}
}

// wait is how long until the next try, after so many: twice as long each time, give or
// take a quarter, and no sooner than the service has asked for.
func (r *Role) wait(tries int, asked time.Duration) time.Duration {
	d := r.cfg.Last
	if shift := tries - 1; shift < 20 {
		d = min(r.cfg.First<<shift, r.cfg.Last)
	}
	return max(retry.Jitter(d), min(asked, r.cfg.Last))
}

// measure tells how much waits.
func (r *Role) measure(ctx context.Context) {
	for {
		b, err := r.cfg.Store.EmailBacklog(ctx)
		if err == nil {
			r.metrics.backlog(b)
		}
		if !retry.Sleep(ctx, retry.Jitter(measureEach)) {
			return
		}
	}
}

// headers are what e-mails have besides the usual: they say that nobody wrote them (RFC
// 3834 §5), so that no program answers, and how to get no more (RFC 2369 §3.2, RFC 8058
// §3.1).
func headers(o vezechat.OutgoingEmail) map[string]string {
	h := map[string]string{
		"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All", "X-VEZEChat-Email": strconv.FormatInt(int64(o.ID), 10),
	}
	if o.Mail.References != "" {
		h["References"], h["In-Reply-To"] = "<"+o.Mail.References+">", "<"+o.Mail.References+">"
	}
	if u := o.Mail.Unsubscribe; u != "" {
		h["List-Unsubscribe"] = "<" + u + ">"
		if strings.HasPrefix(u, "https:") {
			h["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
		}
	}
	return h
}
