package edge

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// Poster is what people do in rooms, the same for HTTP and sockets: it checks,
// limits, and appends to the log. Callers bring the Access, so that a socket
// need not ask for it with each message. It is safe for concurrent use.
//
// All methods answer CodeNotFound, CodeForbidden, CodeMuted and CodeConflict as
// Access.May does, CodeRateLimited with RetryAfter, and CodeUnavailable when the
// log did not acknowledge: the same call with the same nonce is then harmless.
type Poster struct {
	cfg     PosterConfig
	limiter *limiter
	metrics *posterMetrics
	guarded *guarded

	commands *commands
}

// PosterConfig is what a Poster needs.
type PosterConfig struct {
	Log        vezechat.Log
	Rooms      vezechat.RoomService
	Messages   vezechat.MessageService
	Moderation vezechat.ModerationService // deletes others' messages, keeps what guards hold, and hears of what they flag
	Sanctions  *Sanctions                 // optional: who is banned or muted on the whole hub; nil: nobody
	Limits     Limits
	Now        func() time.Time
	Registerer prometheus.Registerer

	Guards *guard.Guards        // nil: texts are not judged
	Users  vezechat.UserService // nil: nobody's account is new to the guards

	Commands PosterCommands // zero: a slash is nothing special
}

// NewPoster returns a Poster.
func NewPoster(cfg PosterConfig) *Poster {
	m := newPosterMetrics(cfg.Registerer)
	return &Poster{cfg: cfg, limiter: newLimiter(cfg.Limits, m.evicted), metrics: m, guarded: newGuarded(cfg), commands: newCommands(cfg)}
}

// Send is a message on its way.
type Send struct {
	Caller  vezechat.Caller
	Access  vezechat.Access // the caller's
	Text    string
	Nonce   string // empty: a fresh one
	ReplyTo vezechat.MessageID
	By      vezechat.UserID // the service that speaks for the caller, or 0
	Trace   vezechat.Trace
	Bot     bool // a program speaks, and says so

	// Recall asks storage first whether the nonce was used already, so that a
	// repetition is the same message even after the log has forgotten its ID.
	Recall bool
}

// Send appends a message. The Ack's Seq is the message's id; Duplicate says that
// the nonce was used before, and the id is that of the first one.
// CodeBadRequest and CodeTooLarge: the text or the nonce is not usable, or there
// is no message to reply to. CodeSlowMode: the room spaces messages out.
// CodeBlockedContent: the guards refuse the text, or hold it for a moderator.
func (p *Poster) Send(ctx context.Context, s Send) (vezechat.Ack, error) {
	now := p.cfg.Now()
	if err := p.may(s.Access, s.Caller, vezechat.ActionPost, now); err != nil {
		return vezechat.Ack{}, err
	}
	text, err := vezechat.CheckText(s.Text)
	if err != nil {
		return vezechat.Ack{}, err
	}
	if err := vezechat.CheckNonce(s.Nonce); err != nil {
		return vezechat.Ack{}, err
	}
	recall := s.Recall && s.Nonce != ""
	if s.Nonce == "" {
		s.Nonce = rand.Text()
	}
	counted, err := p.count(s.Caller, s.Access, s.Nonce, now)
	if err != nil {
		return vezechat.Ack{}, err
	}
	ack, err := p.send(ctx, s, text, recall, counted)
	if counted && (ack.Duplicate || err != nil && refunded(vezechat.CodeOf(err))) {
		p.limiter.refund(s.Caller.UserID, s.Access.Room.ID, s.Nonce)
	}
	return ack, err
}

// refunded: what came to nothing costs nothing. What a guard refuses does: trying on
// is not for free.
func refunded(c vezechat.Code) bool { return !c.Retryable() && c != vezechat.CodeBlockedContent }

func (p *Poster) send(ctx context.Context, s Send, text string, recall, counted bool) (vezechat.Ack, error) {
	ref := vezechat.RoomRef{Caller: s.Caller, RoomID: s.Access.Room.ID}
	if recall {
		m, err := p.cfg.Messages.MessageByNonce(ctx, vezechat.NonceRef{RoomRef: ref, UserID: s.Caller.UserID, Nonce: s.Nonce})
		if err == nil {
			return vezechat.Ack{Seq: m.ID, Duplicate: true}, nil
		}
		if vezechat.CodeOf(err) != vezechat.CodeNotFound {
			return vezechat.Ack{}, err
		}
	}
	if s.ReplyTo != 0 {
		_, err := p.cfg.Messages.Message(ctx, vezechat.MessageRef{RoomRef: ref, MessageID: s.ReplyTo})
		if vezechat.CodeOf(err) == vezechat.CodeNotFound {
			return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeBadRequest, "reply_to: there is no message %s in this room", s.ReplyTo)
		}
		if err != nil {
			return vezechat.Ack{}, err
		}
	}
	j := p.guarded.judge(ctx, s.Caller, s.Access.Room.Kind, text, counted)
	switch j.Verdict {
	case vezechat.VerdictBlock:
		return vezechat.Ack{}, refused(j)
	case vezechat.VerdictHold:
		return vezechat.Ack{}, p.guarded.held(ctx, s, text, j, false)
	}
	if p.guarded.unjudged(s.Caller, s.Access.Room.Kind) {
		return vezechat.Ack{}, p.guarded.held(ctx, s, j.Text, j, true)
	}
	ack, err := p.append(ctx, messageID(s.Caller.UserID, s.Access.Room.ID, s.Nonce), &vezechat.Event{
		Type: vezechat.EventMessageCreated, RoomID: s.Access.Room.ID, UserID: s.Caller.UserID, Handle: s.Caller.Handle,
		Text: j.Text, Nonce: s.Nonce, ReplyTo: s.ReplyTo, By: s.By, Flags: flags(s), At: p.cfg.Now(),
	}, s.Trace)
	if err == nil && !ack.Duplicate {
		p.guarded.flag(s.Access.Room.ID, ack.Seq, s.Caller.UserID, j)
	}
	return ack, err
}

// flags say who speaks: a program, by a hook or with a key of its own. In the rooms of
// tickets they say whether it is the staff, or a program in its name.
// Members are the requester, whose room it is, whatever their token allows besides; and who
// sees the ticket since theirs was merged into it, who are the staff if their token says so.
// Nobody can say it of themselves.
func flags(s Send) []string {
	member := s.Access.Role != vezechat.RoleNone
	switch {
	case s.Access.Room.Kind != vezechat.KindSupport && (s.Bot || s.Caller.Key != 0):
		return []string{vezechat.FlagBot}
	case s.Access.Room.Kind != vezechat.KindSupport || member && (s.Access.Room.CreatedBy == s.Caller.UserID || !s.Caller.Desk()):
		return nil
	case s.Caller.Scopes.Has(vezechat.ScopeChatActAs):
		return []string{vezechat.FlagBot}
	default:
		return []string{vezechat.FlagStaff}
	}
}

// messageID is a message's ID in the log: the nonce, scoped to who used it where.
func messageID(user vezechat.UserID, room vezechat.RoomID, nonce string) string {
	b := make([]byte, 0, 128)
	b = append(strconv.AppendInt(b, int64(user), 10), ':')
	b = append(strconv.AppendInt(b, int64(room), 10), ':')
	return string(append(b, nonce...))
}

// Change is something done to a message that is there.
type Change struct {
	Caller    vezechat.Caller
	Access    vezechat.Access
	MessageID vezechat.MessageID
	Nonce     string // optional: makes a repetition harmless for two minutes
	Trace     vezechat.Trace
}

// may is Access.May, with what holds on the whole hub: of who is spoken for, too.
func (p *Poster) may(a vezechat.Access, c vezechat.Caller, act vezechat.Action, now time.Time) error {
	if err := p.cfg.Sanctions.Check(c.UserID); err != nil {
		return err
	}
	return p.cfg.Sanctions.Under(a, c.UserID).May(c, act, now)
}

// Edit replaces a message's text. CodeForbidden: it is another's.
// CodeConflict: it is deleted or hidden. CodeBlockedContent: the guards refuse the
// text, or rooms of that kind are classified before; what they would hold is refused, too,
// and the message stays as it was.
func (p *Poster) Edit(ctx context.Context, c Change, text string) (vezechat.Ack, error) {
	text, err := vezechat.CheckText(text)
	if err != nil {
		return vezechat.Ack{}, err
	}
	m, err := p.message(ctx, c, vezechat.ActionPost)
	switch {
	case err != nil:
		return vezechat.Ack{}, err
	case m.UserID != c.Caller.UserID:
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeForbidden, "only its author may edit a message")
	case m.Deleted || m.Hidden:
		return vezechat.Ack{}, gone()
	}
	j := p.guarded.judge(ctx, c.Caller, c.Access.Room.Kind, text, false)
	switch j.Verdict {
	case vezechat.VerdictHold: // what is said stands: there is nothing that a moderator could let appear in its order
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeBlockedContent, "a moderator would have to look at this first, so say it as a message of its own: %s", why(j))
	case vezechat.VerdictBlock:
		return vezechat.Ack{}, refused(j)
	}
	if p.guarded.unjudged(c.Caller, c.Access.Room.Kind) {
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeBlockedContent, "messages are checked before they are shown here, and not edited after: delete it, and write another one")
	}
	ack, err := p.change(ctx, c, vezechat.Event{Type: vezechat.EventMessageEdited, Text: j.Text})
	if err == nil && !ack.Duplicate {
		p.guarded.flag(c.Access.Room.ID, c.MessageID, c.Caller.UserID, j)
	}
	return ack, err
}

// Delete takes a message's text away: one's own, or another's as a moderator, which is
// audited. A message that is deleted already stays so. The Ack of what was not appended
// here is zero.
func (p *Poster) Delete(ctx context.Context, c Change) (vezechat.Ack, error) {
	m, err := p.message(ctx, c, vezechat.ActionSee)
	if err != nil {
		return vezechat.Ack{}, err
	}
	if err := mayDelete(c, m, p.cfg.Now()); err != nil {
		return vezechat.Ack{}, err
	}
	if m.Deleted {
		return vezechat.Ack{Duplicate: true}, nil
	}
	if m.UserID != c.Caller.UserID {
		_, err := p.cfg.Moderation.Act(ctx, vezechat.ModAct{
			Caller: c.Caller, Kind: vezechat.ModDelete, RoomID: c.Access.Room.ID, MessageID: c.MessageID, Trace: c.Trace,
		})
		return vezechat.Ack{}, err
	}
	return p.change(ctx, c, vezechat.Event{Type: vezechat.EventMessageDeleted})
}

// mayDelete lets authors delete while they are muted, not in an archived room.
func mayDelete(c Change, m vezechat.Message, now time.Time) error {
	if !c.Caller.Scopes.Has(vezechat.ScopeChatWrite) && !c.Caller.Staff() {
		return readOnly()
	}
	err := c.Access.May(c.Caller, vezechat.ActionAmend, now)
	if vezechat.CodeOf(err) == vezechat.CodeForbidden && m.UserID == c.Caller.UserID {
		return nil
	}
	return err
}

// React adds the caller's reaction to a message, or takes it away. Doing it twice
// is harmless: readers count a person's emoji once. CodeTooLarge: the message has
// MaxReactions others; those who add one at the same moment may pass it by a few.
func (p *Poster) React(ctx context.Context, c Change, emoji string, add bool) (vezechat.Ack, error) {
	usable := vezechat.CheckEmoji(emoji)
	if add && usable != nil {
		return vezechat.Ack{}, usable
	}
	m, err := p.message(ctx, c, vezechat.ActionPost)
	if err != nil {
		return vezechat.Ack{}, err
	}
	if m.Deleted || m.Hidden {
		return vezechat.Ack{}, gone()
	}
	known := slices.ContainsFunc(m.Reactions, func(r vezechat.Reaction) bool { return r.Emoji == emoji })
	if !known && usable != nil { // one from before the rule can be taken away
		return vezechat.Ack{}, usable
	}
	if add && !known && len(m.Reactions) >= vezechat.MaxReactions {
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeTooLarge, "a message has at most %d different reactions", vezechat.MaxReactions)
	}
	e := vezechat.Event{Type: vezechat.EventReactionAdded, Emoji: emoji}
	if !add {
		e.Type = vezechat.EventReactionRemoved
	}
	return p.change(ctx, c, e)
}

// Read moves the caller's read position in a room forward.
func (p *Poster) Read(ctx context.Context, c vezechat.Caller, acc vezechat.Access, upto vezechat.Seq) error {
	if err := acc.May(c, vezechat.ActionSee, p.cfg.Now()); err != nil {
		return err
	}
	return p.cfg.Rooms.MarkRead(ctx, []vezechat.ReadMark{{Caller: c, RoomID: acc.Room.ID, Upto: upto}})
}

// Typing returns nil when others may be told that the caller types: they may
// post, and are not too fast. It tells nobody.
func (p *Poster) Typing(c vezechat.Caller, acc vezechat.Access) error {
	now := p.cfg.Now()
	if err := p.may(acc, c, vezechat.ActionPost, now); err != nil {
		return err
	}
	return p.limit(c, acc, now)
}

// outside is the room of what is done in none.
const outside vezechat.RoomID = -1

// Spend counts something that costs the hub work and is done in no room, as a
// search: CodeRateLimited.
func (p *Poster) Spend(c vezechat.Caller) error {
	return p.limit(c, vezechat.Access{Room: vezechat.Room{ID: outside}}, p.cfg.Now())
}

// message checks and limits a change, and returns the message it is about.
func (p *Poster) message(ctx context.Context, c Change, act vezechat.Action) (vezechat.Message, error) {
	now := p.cfg.Now()
	if err := p.may(c.Access, c.Caller, act, now); err != nil {
		return vezechat.Message{}, err
	}
	if err := vezechat.CheckNonce(c.Nonce); err != nil {
		return vezechat.Message{}, err
	}
	if err := p.limit(c.Caller, c.Access, now); err != nil {
		return vezechat.Message{}, err
	}
	ref := vezechat.RoomRef{Caller: c.Caller, RoomID: c.Access.Room.ID}
	return p.cfg.Messages.Message(ctx, vezechat.MessageRef{RoomRef: ref, MessageID: c.MessageID})
}

// change fills in who, where and when of an event about a message, and appends it.
func (p *Poster) change(ctx context.Context, c Change, e vezechat.Event) (vezechat.Ack, error) {
	e.RoomID, e.MessageID, e.At = c.Access.Room.ID, c.MessageID, p.cfg.Now()
	if e.UserID == 0 {
		e.UserID, e.Handle = c.Caller.UserID, c.Caller.Handle
	}
	if c.Nonce == "" {
		c.Nonce = rand.Text()
	}
	id := string(e.Type) + ":" + c.Caller.UserID.String() + ":" + e.RoomID.String() + ":" + e.MessageID.String() + ":" + e.Emoji + ":" + c.Nonce
	return p.append(ctx, id, &e, c.Trace)
}

func (p *Poster) append(ctx context.Context, id string, e *vezechat.Event, tr vezechat.Trace) (vezechat.Ack, error) {
	ctx, tr, end := spans.Begin(ctx, "append "+string(e.Type), tr)
	if !tr.Empty() {
		e.Trace = &tr
	}
	payload := vezechat.AppendEvent(make([]byte, 0, 256+len(e.Text)), e)
	ack, err := p.cfg.Log.Append(ctx, vezechat.Entry{Subject: vezechat.RoomSubject(e.RoomID), ID: asciiID(id), Payload: payload, Trace: tr})
	end(err)
	p.metrics.append(e.Type, ack, err)
	return ack, err
}

// asciiID keeps an ID fit for a header: emoji are quoted.
func asciiID(id string) string {
	for i := range len(id) {
		if id[i] >= 0x80 {
			q := strconv.QuoteToASCII(id)
			return q[1 : len(q)-1]
		}
	}
	return id
}

// limit counts what is no message.
func (p *Poster) limit(c vezechat.Caller, acc vezechat.Access, now time.Time) error {
	_, err := p.count(c, acc, "", now)
	return err
}

// count asks the limiter; staff is exempt, and not counted.
func (p *Poster) count(c vezechat.Caller, acc vezechat.Access, nonce string, now time.Time) (counted bool, err error) {
	if c.Staff() {
		return false, nil
	}
	slow := time.Duration(acc.Room.SlowMode) * time.Second
	counted, err = p.limiter.take(c.UserID, acc.Room.ID, nonce, slow, now)
	if err != nil {
		p.metrics.limited.WithLabelValues(string(vezechat.CodeOf(err))).Inc()
	}
	return counted, err
}

func gone() *vezechat.Error {
	return vezechat.Errorf(vezechat.CodeConflict, "the message is deleted or hidden")
}

func readOnly() *vezechat.Error {
	return vezechat.Errorf(vezechat.CodeForbidden, "your token may read, not write")
}
