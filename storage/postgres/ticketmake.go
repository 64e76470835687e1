package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
	"vezeuniqverse.com/vezechat/routing/sla"
)

// CreateTicket implements vezechat.TicketService.
func (s *Store) CreateTicket(ctx context.Context, r vezechat.CreateTicket) (vezechat.Ticket, error) {
	n, err := checkCreateTicket(r)
	if err != nil {
		return vezechat.Ticket{}, err
	}
	return s.openTicket(ctx, r.Caller, r.Key, func(ctx context.Context, tx pgx.Tx) (vezechat.TicketID, error) {
		w, err := s.makeTicket(ctx, tx, n)
		if err != nil {
			return 0, err
		}
		return w.t.ID, nil
	})
}

// openTicket returns the ticket that was made with the key before, else the one
// that fn makes, as its caller sees it.
func (s *Store) openTicket(ctx context.Context, c vezechat.Caller, key string, fn func(context.Context, pgx.Tx) (vezechat.TicketID, error)) (t vezechat.Ticket, err error) {
	if err := checkKey(key); err != nil {
		return t, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		first, was, err := claimKey(ctx, tx, c.UserID, key)
		if err != nil {
			return err
		}
		id := was.ticket
		switch {
		case first:
			if id, err = fn(ctx, tx); err != nil {
				return err
			}
			if key != "" {
				if _, err := tx.Exec(ctx, setKeyedTicket, c.UserID, key, id); err != nil {
					return err
				}
			}
		case id == 0:
			return keyTaken()
		}
		t, err = ticket(ctx, tx, id)
		return err
	})
	if err != nil {
		return vezechat.Ticket{}, err
	}
	s.signalOutbox()
	return shownTo(t, c), nil
}

const setKeyedTicket = `
UPDATE idempotency_keys SET ticket_id = $3 WHERE user_id = $1 AND key = $2`

// shownTo returns a ticket as a caller may see it.
func shownTo(t vezechat.Ticket, c vezechat.Caller) vezechat.Ticket {
	if c.Desk() {
		return t
	}
	if t.Requester != c.UserID { // who sees it since it was merged into another's
		t.GuestName, t.GuestEmail = "", ""
	}
	return t.ForRequester()
}

// newTicket is a ticket that is to be made.
type newTicket struct {
	ticket vezechat.Ticket // what is given of it
	queue  string          // its key, instead of its number
	body   string
	by     vezechat.Caller
	kind   string // of the history's row
	why    string
	trace  vezechat.Trace
	since  time.Time // its requester waits since then already; zero: since it is made
	custom bool      // what it has besides is another ticket's, and was checked there, by the fields of then
}

func checkCreateTicket(r vezechat.CreateTicket) (n newTicket, err error) {
	switch {
	case r.Caller.UserID <= 0:
		return n, vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	case r.Caller.IsGuest():
		return n, oneTicket()
	case !r.Caller.Scopes.Has(vezechat.ScopeChatWrite) && !r.Caller.Desk():
		return n, vezechat.Errorf(vezechat.CodeForbidden, "your token may read, not write")
	case r.Requester != 0 && r.Requester != r.Caller.UserID && !r.Caller.Desk() && !r.Caller.Scopes.Has(vezechat.ScopeChatActAs):
		return n, vezechat.Errorf(vezechat.CodeForbidden, "a ticket of somebody else is made by the desk")
	}
	t := vezechat.Ticket{Channel: r.Channel, Priority: r.Priority, CreatedBy: r.Caller.UserID, Requester: r.Requester, Queue: r.Queue, Needs: r.Skills, Custom: r.Custom}
	if t.Requester == 0 {
		t.Requester = r.Caller.UserID
	}
	if t.Channel == "" {
		t.Channel = vezechat.ChannelWeb
	}
	if t.Priority == "" {
		t.Priority = vezechat.PriorityNormal
	}
	if !t.Channel.Valid() || !t.Priority.Valid() {
		return n, vezechat.Errorf(vezechat.CodeBadRequest, "channel, priority: unknown")
	}
	t.Live = t.Channel == vezechat.ChannelChat
	if t.Subject, err = vezechat.CheckSubject(r.Subject); err != nil {
		return n, err
	}
	if t.Tags, err = vezechat.CheckTags(r.Tags); err != nil {
		return n, err
	}
	if err := vezechat.CheckNeeds(r.Skills); err != nil {
		return n, err
	}
	n = newTicket{ticket: t, queue: nameKey(r.QueueName), by: r.Caller, kind: "created", trace: r.Trace}
	if strings.TrimSpace(r.Body) != "" {
		n.body, err = vezechat.CheckText(r.Body)
	}
	return n, err
}

// makeTicket makes a ticket with its rooms, and says its first message.
func (s *Store) makeTicket(ctx context.Context, tx pgx.Tx, n newTicket) (*work, error) {
	t := n.ticket
	who, err := user(ctx, tx, vezechat.UserQuery{ID: t.Requester})
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		err = vezechat.Errorf(vezechat.CodeBadRequest, "requester: there is no such user")
	}
	if err != nil {
		return nil, err
	}
	if who.Guest && n.by.UserID != who.ID {
		return nil, vezechat.Errorf(vezechat.CodeConflict, "requester: a guest sees one ticket, and would not see the new one")
	}
	if !n.custom {
		if t.Custom, err = mergeCustom(ctx, tx, nil, t.Custom); err != nil {
			return nil, err
		}
	}
	if n.queue != "" && t.Queue == 0 {
		if t.Queue, err = queueCalled(ctx, tx, n.queue); err != nil {
			return nil, err
		}
	}
	t.Live = t.Live && t.Queue != 0 // else nobody is asked who could be there
	if t.ID, err = s.newTicketID(ctx, tx); err != nil {
		return nil, err
	}
	t.Status, t.CreatedAt, t.RequesterHandle = vezechat.StatusNew, s.instant(), who.Handle
	if len(t.Tags) == 0 {
		t.Tags = nil
	}
	if err := s.makeRooms(ctx, tx, &t, n); err != nil {
		return nil, err
	}
	w := &work{s: s, tx: tx, t: t, at: t.CreatedAt, actor: n.by.UserID, kind: n.kind, why: n.why, trace: n.trace}
	w.clock(sla.Opened)
	if err := w.inherit(n.since); err != nil {
		return nil, err
	}
	if err := w.save(ctx); err != nil || n.body == "" {
		return w, err
	}
	e := vezechat.Event{
		Type: vezechat.EventMessageCreated, RoomID: t.Room, UserID: t.Requester, Handle: who.Handle, Text: n.body,
		Nonce: "ticket-" + t.ID.String(), At: t.CreatedAt,
	}
	if n.by.UserID != t.Requester {
		e.By = n.by.UserID
	}
	return w, emit(ctx, tx, []vezechat.Event{e}, n.trace)
}

const selectQueueCalled = `
SELECT id FROM queues WHERE name_key = $1`

// queueCalled returns the queue that has a name.
func queueCalled(ctx context.Context, db querier, key string) (id vezechat.QueueID, err error) {
	err = db.QueryRow(ctx, selectQueueCalled, key).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.Errorf(vezechat.CodeBadRequest, "queue: there is none of that name")
	}
	return id, err
}

const setTicketHead = `
UPDATE room_heads SET ticket_id = $2, notes = $3 WHERE room_id = $1`

const insertDeskHead = `
INSERT INTO desk_heads (subject, last_seq) VALUES ($1, 0)`

// makeRooms inserts the ticket's row and its rooms, which name each other.
func (s *Store) makeRooms(ctx context.Context, tx pgx.Tx, t *vezechat.Ticket, n newTicket) (err error) {
	public, notes := roomName("Ticket", t), roomName("Notes on", t)
	meta := vezechat.Meta(fmt.Sprintf(`{"ticket_id":%d}`, t.ID))
	if t.Room, err = s.insertRoom(ctx, tx, newRoom{name: public, kind: vezechat.KindSupport, meta: meta, by: t.Requester}); err != nil {
		return err
	}
	if t.NotesRoom, err = s.insertRoom(ctx, tx, newRoom{name: notes, kind: vezechat.KindSupport, meta: meta}); err != nil {
		return err
	}
	err = insertTicket(ctx, tx, t)
	if foreign(err) {
		return vezechat.WrapError(vezechat.CodeBadRequest, err, "queue_id: there is no such queue")
	}
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(setTicketHead, t.Room, t.ID, false)
	b.Queue(setTicketHead, t.NotesRoom, t.ID, true)
	b.Queue(insertDeskHead, vezechat.TicketSubject(t.ID))
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	joined, err := addMembers(ctx, tx, t.Room, []vezechat.UserID{t.Requester}, t.Requester, vezechat.RoleMember)
	if err != nil {
		return err
	}
	if err := s.announceRoom(ctx, tx, t.Room, public.Text, vezechat.KindSupport, n.by, joined, n.trace); err != nil {
		return err
	}
	return s.announceRoom(ctx, tx, t.NotesRoom, notes.Text, vezechat.KindSupport, n.by, nil, n.trace)
}

// roomName is what a ticket's room is called. Such names need not be different.
func roomName(what string, t *vezechat.Ticket) names.Name {
	text := []rune(what + " " + t.ID.String() + ": " + t.Subject)
	if len(text) > vezechat.MaxRoomName {
		text = append(text[:vezechat.MaxRoomName-1], '…')
	}
	key := strings.ToLower(what) + " " + t.ID.String()
	return names.Name{Text: string(text), Key: key, Look: key}
}

const selectFields = `
SELECT key, name, type, options, required FROM ticket_fields ORDER BY key LIMIT $1`

func ticketFields(ctx context.Context, db querier) ([]vezechat.TicketField, error) {
	rows, err := db.Query(ctx, selectFields, vezechat.MaxFields)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f vezechat.TicketField, err error) {
		var options []byte
		if err := row.Scan(&f.Key, &f.Name, &f.Type, &options, &f.Required); err != nil {
			return f, err
		}
		err = json.Unmarshal(options, &f.Options)
		if len(f.Options) == 0 {
			f.Options = nil
		}
		return f, err
	})
	return list, err
}

// mergeCustom returns what a ticket has besides, after some keys of it were given
// anew. CodeBadRequest: there is no such field, or its value is none of its type.
func mergeCustom(ctx context.Context, db querier, have, given vezechat.CustomJSON) (vezechat.CustomJSON, error) {
	if len(given) == 0 || string(given) == "null" {
		return have, nil
	}
	if len(given) > vezechat.MaxCustom {
		return nil, vezechat.Errorf(vezechat.CodeTooLarge, "custom: at most %d bytes", vezechat.MaxCustom)
	}
	var want map[string]vezechat.CustomJSON
	if err := json.Unmarshal(given, &want); err != nil {
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, err, "custom: an object")
	}
	if len(want) == 0 {
		return have, nil
	}
	fields, err := ticketFields(ctx, db)
	if err != nil {
		return nil, err
	}
	byKey := map[string]*vezechat.TicketField{}
	for i := range fields {
		byKey[fields[i].Key] = &fields[i]
	}
	all := map[string]vezechat.CustomJSON{}
	if len(have) > 0 {
		if err := json.Unmarshal(have, &all); err != nil {
			return nil, err
		}
	}
	for k, v := range want {
		f := byKey[k]
		if f == nil {
			return nil, vezechat.Errorf(vezechat.CodeBadRequest, "custom: there is no field %q", vezechat.Clip(k, 40))
		}
		if err := f.Check(v); err != nil {
			return nil, err
		}
		if all[k] = v; string(v) == "null" {
			delete(all, k)
		}
	}
	out, err := marshalCustom(all)
	if err == nil && len(out) > vezechat.MaxCustom {
		err = vezechat.Errorf(vezechat.CodeTooLarge, "custom: at most %d bytes", vezechat.MaxCustom)
	}
	return out, err
}

func marshalCustom(all map[string]vezechat.CustomJSON) (vezechat.CustomJSON, error) {
	if len(all) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(all)
	return b, err
}

// lackingFields are the fields that a ticket must have to be solved, and has not.
func lackingFields(ctx context.Context, db querier, t *vezechat.Ticket) (keys []string, err error) {
	fields, err := ticketFields(ctx, db)
	if err != nil {
		return nil, err
	}
	have := map[string]vezechat.CustomJSON{}
	if len(t.Custom) > 0 {
		if err := json.Unmarshal(t.Custom, &have); err != nil {
			return nil, err
		}
	}
	for _, f := range fields {
		if _, ok := have[f.Key]; f.Required && !ok {
			keys = append(keys, f.Key)
		}
	}
	return keys, nil
}

// atLeast is the later one of two times: what the log tells of a ticket may have
// happened before it was made.
func atLeast(at, begin time.Time) time.Time {
	if at.Before(begin) {
		return begin
	}
	return at
}
