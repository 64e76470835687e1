package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/letter"
)

// EmailHook is how e-mails come.
type EmailHook struct {
	Verify func(h http.Header, body []byte) error // CodeUnauthorized: nobody who may bring e-mails has signed it
	Domain string                                 // of reply addresses
	Links  string                                 // where people find the hub; empty: attachments are named without an address
}

func newReceived(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_emails_received_total", Help: "E-mails that came, by what became of them (comment, duplicate, bounce, automatic, nobody, empty, refused).",
	}, []string{"outcome"})
	reg.MustRegister(c)
	return c
}

// receiveEmail takes an e-mail. What can never become a comment is answered with 200, so
// that it is not brought again; what may when it is brought again is an error.
func (e *Edge) receiveEmail(c *fiber.Ctx) error {
	hook := e.cfg.EmailHook
	if hook == nil || e.cfg.Answers == nil {
		return vezechat.Errorf(vezechat.CodeNotFound, "this hub takes no e-mails")
	}
	h := http.Header{}
	for k, v := range c.Request().Header.All() {
		h.Add(string(k), string(v))
	}
	body := c.Request().Body()
	if err := hook.Verify(h, body); err != nil {
		return err
	}
	m, err := readEmail(c.Get(fiber.HeaderContentType), body)
	if err != nil {
		return err
	}
	in := incoming{Edge: e, m: &m, id: emailID(&m, body)}
	out, err := in.take(c.UserContext(), TraceOf(c))
	if err != nil {
		return err
	}
	e.received.WithLabelValues(out["outcome"].(string)).Inc()
	return c.JSON(out)
}

func readEmail(contentType string, body []byte) (vezechat.ReceivedEmail, error) {
	switch typ, _, _ := mime.ParseMediaType(contentType); typ {
	case "message/rfc822":
		return letter.Parse(body)
	case "application/json":
		return letter.ParseJSON(body)
	}
	return vezechat.ReceivedEmail{}, vezechat.Errorf(vezechat.CodeBadRequest, "an e-mail comes as message/rfc822 or application/json")
}

// emailID is what tells an e-mail from others: its Message-ID, or all of it.
func emailID(m *vezechat.ReceivedEmail, body []byte) []byte {
	sum := sha256.Sum256(body)
	if m.MessageID != "" {
		sum = sha256.Sum256([]byte(m.From + "\x00" + m.MessageID))
	}
	return sum[:]
}

// incoming is an e-mail on its way into a ticket.
type incoming struct {
	*Edge
	m      *vezechat.ReceivedEmail
	id     []byte
	ticket vezechat.TicketID
	party  vezechat.EmailParty
}

func became(o vezechat.EmailOutcome, why string) fiber.Map {
	m := fiber.Map{"outcome": string(o)}
	if why != "" {
		m["why"] = why
	}
	return m
}

// take decides what becomes of an e-mail. A reply address is good for its recipient alone:
// an answer is theirs if it is from their address, too.
func (in *incoming) take(ctx context.Context, trace vezechat.Trace) (fiber.Map, error) {
	found, err := in.find(ctx)
	if err != nil {
		return nil, err
	}
	m := in.m
	switch {
	case !found:
		return became(vezechat.EmailNobody, "it was sent to no reply address of somebody in a ticket"), nil
	case m.Bounce != nil:
		return in.note(ctx, vezechat.EmailBounced, "an e-mail was not delivered: "+m.Bounce.Status)
	case m.Automatic != "":
		return in.note(ctx, vezechat.EmailAutomatic, "a program has answered: "+m.Automatic)
	case in.party.User.Email == "" || !strings.EqualFold(m.From, in.party.User.Email):
		return became(vezechat.EmailNobody, "it is from another address than the e-mail that it answers was sent to"), nil
	case m.Text == "" && len(m.Attachments) == 0:
		return became(vezechat.EmailEmpty, "nothing was written above what it answers"), nil
	}
	return in.comment(ctx, trace)
}

// find looks for the ticket, and whose reply address it is.
func (in *incoming) find(ctx context.Context) (bool, error) {
	const most = 20 // addresses that are looked at
	for i, to := range in.m.To {
		r, ok := vezechat.ParseReplyAddress(to, in.cfg.EmailHook.Domain)
		if !ok || i >= most {
			continue
		}
		parties, err := in.cfg.Answers.EmailParties(ctx, r.Ticket)
		if err != nil {
			return false, err
		}
		for _, p := range parties {
			if in.cfg.EmailSigner.Replies(r, p.User.ID) {
				in.ticket, in.party = r.Ticket, p
				return true, nil
			}
		}
	}
	return false, nil
}

// note keeps that an e-mail came which is no comment.
func (in *incoming) note(ctx context.Context, o vezechat.EmailOutcome, why string) (fiber.Map, error) {
	r := vezechat.TakeEmail{ID: in.id, TicketID: in.ticket, UserID: in.party.User.ID, Outcome: o, Why: why}
	if b := in.m.Bounce; b != nil && b.Permanent {
		r.Bounced, r.Address = true, in.party.User.Email
	}
	_, err := in.cfg.Answers.TakeEmail(ctx, r)
	return became(o, why), err
}

// comment has the sender say what they have written. Each step may be done twice: the
// message's nonce is made of the e-mail, so that it is one message however often the
// e-mail comes.
func (in *incoming) comment(ctx context.Context, trace vezechat.Trace) (fiber.Map, error) {
	receipt, err := in.cfg.Answers.TakeEmail(ctx, vezechat.TakeEmail{ID: in.id, TicketID: in.ticket, UserID: in.party.User.ID, Outcome: vezechat.EmailComment})
	if err != nil {
		return nil, err
	}
	switch {
	case receipt.MessageID != 0:
		return said("duplicate", receipt.RoomID, receipt.MessageID), nil
	case receipt.Outcome != vezechat.EmailComment:
		return became(receipt.Outcome, "it had come before, or there were too many within an hour"), nil
	}
	text, err := in.withFiles(ctx)
	if err != nil {
		return nil, err
	}
	caller := in.caller()
	access, err := in.cfg.Rooms.Access(ctx, vezechat.RoomRef{Caller: caller, RoomID: in.party.Room, Trace: trace})
	if err == nil {
		var ack vezechat.Ack
		ack, err = in.cfg.Poster.Send(ctx, Send{Caller: caller, Access: access, Text: text, Nonce: "email-" + hex.EncodeToString(in.id[:20]), Trace: trace, Recall: true})
		if err == nil {
			err = in.cfg.Answers.CommentedEmail(ctx, vezechat.CommentedEmail{ID: in.id, RoomID: in.party.Room, MessageID: ack.Seq})
			return said(string(vezechat.EmailComment), in.party.Room, ack.Seq), err
		}
	}
	if vezechat.CodeOf(err).Retryable() {
		return nil, err
	}
	return became(vezechat.EmailRefused, vezechat.AsError(err).Message), nil
}

func said(outcome string, room vezechat.RoomID, id vezechat.MessageID) fiber.Map {
	return fiber.Map{"outcome": outcome, "room_id": room, "message_id": id}
}

// caller is the sender, with what somebody may do who was written to about the ticket.
func (in *incoming) caller() vezechat.Caller {
	u := in.party.User
	c := vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	if in.party.IsGuest {
		c.Guest = vezechat.Guest{Ticket: in.ticket, Room: in.party.Room}
	}
	if in.party.Desk {
		c.Scopes = append(c.Scopes, vezechat.ScopeTicketManage)
	}
	return c
}

// withFiles keeps the attachments and returns the text with their names. A text that is
// longer than a message may be is kept whole as an attachment.
func (in *incoming) withFiles(ctx context.Context) (string, error) {
	m := in.m
	text, files, left := m.Text, m.Attachments, m.LeftOut
	if in.party.Direct { // the other one would not see them
		for _, f := range files {
			left = append(left[:len(left):len(left)], f.Name)
		}
		files = nil
	}
	if utf8.RuneCountInString(text) > vezechat.MaxText-maxFileLines {
		if !in.party.Direct {
			files = append(files[:len(files):len(files)], vezechat.ReceivedFile{Name: "message.txt", Type: "text/plain", Content: []byte(text[:min(len(text), vezechat.MaxAttachment)])})
		}
		text = string([]rune(text)[:vezechat.MaxText-maxFileLines]) + "…"
	}
	var lines []string
	for i, f := range files {
		id, err := in.cfg.Answers.AttachEmail(ctx, vezechat.AttachEmail{ID: in.id, N: i, TicketID: in.ticket, UserID: in.party.User.ID, Name: f.Name, Type: f.Type, Content: f.Content})
		switch {
		case vezechat.CodeOf(err) == vezechat.CodeTooLarge:
			left = append(left[:len(left):len(left)], f.Name)
		case err != nil:
			return "", err
		default:
			lines = append(lines, "📎 "+vezechat.Clip(f.Name, 60)+" "+in.cfg.EmailHook.Links+"/tickets/"+in.ticket.String()+"/attachments/"+fileText(id))
		}
	}
	if len(left) > 0 {
		lines = append(lines, "Left out: "+vezechat.Clip(strings.Join(left, ", "), 300))
	}
	all := strings.Join(lines, "\n")
	if over := utf8.RuneCountInString(text) + utf8.RuneCountInString(all) + 2 - vezechat.MaxText; over > 0 {
		all = string([]rune(all)[:max(utf8.RuneCountInString(all)-over, 0)])
	}
	return strings.TrimSpace(text + "\n\n" + all), nil
}

// maxFileLines is the room, in characters, that a message leaves for the names of its
// attachments.
const maxFileLines = 1500

func fileText(id vezechat.FileID) string { return strconv.FormatInt(int64(id), 10) }

// listFiles lists a ticket's attachments.
func (e *Edge) listFiles(c *fiber.Ctx, s Session) error {
	ref, err := ticketRef(c, s)
	if err != nil {
		return err
	}
	if e.cfg.Answers == nil {
		return listed(c, "attachments", []vezechat.TicketFile{})
	}
	list, err := e.cfg.Answers.TicketFiles(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return listed(c, "attachments", list)
}

// sendFile sends an attachment to be kept, never to be shown: it comes from strangers.
func (e *Edge) sendFile(c *fiber.Ctx, s Session) error {
	ref, err := ticketRef(c, s)
	if err != nil {
		return err
	}
	id, err := pathID(c, "attachment", "attachment")
	if err != nil {
		return err
	}
	if e.cfg.Answers == nil {
		return vezechat.Errorf(vezechat.CodeNotFound, "no such attachment")
	}
	f, err := e.cfg.Answers.TicketFile(c.UserContext(), vezechat.TicketFileRef{TicketRef: ref, ID: vezechat.FileID(id)})
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/octet-stream")
	c.Set(fiber.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; sandbox")
	return c.Send(f.Content)
}
