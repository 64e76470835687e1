package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

// maxKey is the most bytes of an idempotency key.
const maxKey = 255

// CreateRoom implements vezechat.RoomService.
func (s *Store) CreateRoom(ctx context.Context, r vezechat.CreateRoom) (vezechat.Room, error) {
	if err := checkCreate(r); err != nil {
		return vezechat.Room{}, err
	}
	name, err := names.Room(r.Name)
	if err != nil {
		return vezechat.Room{}, err
	}
	return s.openRoom(ctx, r.Caller, func(ctx context.Context, tx pgx.Tx) (vezechat.RoomID, error) {
		first, was, err := claimKey(ctx, tx, r.Caller.UserID, r.Key)
		switch {
		case err != nil:
			return 0, err
		case first:
			return s.makeRoom(ctx, tx, r, name)
		case was.room == 0:
			return 0, keyTaken()
		}
		return was.room, nil
	})
}

// openRoom returns the room that find has found or made, as its caller sees it.
func (s *Store) openRoom(ctx context.Context, c vezechat.Caller, find func(context.Context, pgx.Tx) (vezechat.RoomID, error)) (room vezechat.Room, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		id, err := find(ctx, tx)
		if err != nil {
			return err
		}
		a, err := access(ctx, tx, selectAccess, c, id)
		room = a.Room
		return err
	})
	if err != nil {
		return vezechat.Room{}, err
	}
	s.signalOutbox()
	return room, nil
}

func checkCreate(r vezechat.CreateRoom) error {
	need := vezechat.ScopeChatWrite
	switch r.Kind {
	case vezechat.KindGlobal:
		need = vezechat.ScopeChatAdmin
	case vezechat.KindGuild, vezechat.KindParty:
	default:
		return vezechat.Errorf(vezechat.CodeBadRequest, "a room is of kind global, guild or party")
	}
	switch {
	case r.Caller.UserID <= 0:
		return vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	case r.Caller.IsGuest():
		return oneTicket()
	case !r.Caller.Scopes.Has(need):
		return vezechat.Errorf(vezechat.CodeForbidden, "making a %s room needs %s", r.Kind, need)
	case r.Public && r.Kind != vezechat.KindGuild:
		return publicGuilds()
	case len(r.Members) > vezechat.MaxRoomMembers:
		return vezechat.Errorf(vezechat.CodeBadRequest, "a room is made with at most %d members", vezechat.MaxRoomMembers)
	}
	if err := checkKey(r.Key); err != nil {
		return err
	}
	return checkMeta(r.Meta)
}

func publicGuilds() error {
	return vezechat.Errorf(vezechat.CodeBadRequest, "only a guild is public or not")
}

func checkMeta(m vezechat.Meta) error {
	switch b := bytes.TrimSpace(m); {
	case len(b) > vezechat.MaxMeta:
		return vezechat.Errorf(vezechat.CodeTooLarge, "meta has at most %d bytes", vezechat.MaxMeta)
	case len(b) > 0 && (b[0] != '{' || !json.Valid(b)):
		return vezechat.Errorf(vezechat.CodeBadRequest, "meta is a JSON object")
	}
	return nil
}

const setKeyedRoom = `
UPDATE idempotency_keys SET room_id = $3 WHERE user_id = $1 AND key = $2`

// makeRoom inserts the room, its members and its events.
func (s *Store) makeRoom(ctx context.Context, tx pgx.Tx, r vezechat.CreateRoom, name names.Name) (vezechat.RoomID, error) {
	if err := notOfMatch(ctx, tx, r.Caller, name); err != nil {
		return 0, err
	}
	id, err := s.insertRoom(ctx, tx, newRoom{name: name, kind: r.Kind, meta: r.Meta, public: r.Public, by: r.Caller.UserID})
	if err != nil {
		return 0, err
	}
	if r.Key != "" {
		if _, err := tx.Exec(ctx, setKeyedRoom, r.Caller.UserID, r.Key, id); err != nil {
			return 0, err
		}
	}
	if err := nameable(ctx, tx, r); err != nil {
		return 0, err
	}
	users := append(slices.Clone(r.Members), r.Caller.UserID)
	slices.Sort(users)
	users = slices.Compact(users)
	joined, err := addMembers(ctx, tx, id, users, r.Caller.UserID, vezechat.RoleOwner)
	if err != nil {
		return 0, err
	}
	if len(joined) != len(users) {
		return 0, vezechat.Errorf(vezechat.CodeBadRequest, "a member named is no user")
	}
	return id, s.announceRoom(ctx, tx, id, name.Text, r.Kind, r.Caller, joined, r.Trace)
}

const selectUnwilling = `
SELECT EXISTS (SELECT FROM users WHERE id = ANY($1::bigint[]) AND guest),
       EXISTS (SELECT FROM user_blocks WHERE user_id = ANY($1::bigint[]) AND blocked_id = $2)`

// nameable refuses members of a new room who cannot be in one, and those who block its
// maker: nobody is brought into a room by whom they block, however the room comes about.
func nameable(ctx context.Context, tx pgx.Tx, r vezechat.CreateRoom) error {
	if len(r.Members) == 0 {
		return nil
	}
	var guest, blocked bool
	if err := tx.QueryRow(ctx, selectUnwilling, r.Members, r.Caller.UserID).Scan(&guest, &blocked); err != nil {
		return err
	}
	switch {
	case guest:
		return vezechat.Errorf(vezechat.CodeBadRequest, "a member named is no user")
	case blocked && !r.Caller.Staff():
		return vezechat.Errorf(vezechat.CodeForbidden, "one of the members does not want that of you")
	}
	return nil
}

// announceRoom writes the events of a new room: made, then each member joined.
func (s *Store) announceRoom(ctx context.Context, tx pgx.Tx, id vezechat.RoomID, name string, kind vezechat.RoomKind, by vezechat.Caller, joined []vezechat.Member, trace vezechat.Trace) error {
	at := s.now()
	events := []vezechat.Event{{Type: vezechat.EventRoomCreated, RoomID: id, UserID: by.UserID, Handle: by.Handle, Name: name, Kind: kind, At: at}}
	for _, m := range joined {
		e := vezechat.Event{Type: vezechat.EventMemberJoined, RoomID: id, UserID: m.UserID, Handle: m.Handle, Role: m.Role, At: at}
		if m.UserID != by.UserID {
			e.By = by.UserID
		}
		events = append(events, e)
	}
	return emit(ctx, tx, events, trace)
}

type newRoom struct {
	name      names.Name
	kind      vezechat.RoomKind
	meta      vezechat.Meta
	public    bool
	by        vezechat.UserID // 0: nobody
	low, high vezechat.UserID // of a direct message
}

const insertRoomRow = `
INSERT INTO rooms (id, name, name_key, name_look, kind, meta, created_by, dm_low, dm_high, public) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5, $6, nullif($7::bigint, 0), nullif($8::bigint, 0), nullif($9::bigint, 0), $10)
ON CONFLICT (dm_low, dm_high) WHERE kind = 'dm' DO NOTHING
RETURNING id`

const insertHead = `
INSERT INTO room_heads (room_id) VALUES ($1)`

const (
	nextRoomID   = `SELECT nextval(pg_get_serial_sequence('rooms', 'id'))`
	nextTicketID = `SELECT nextval(pg_get_serial_sequence('tickets', 'id'))`
)

// newID returns a number that no room, or no ticket, ever had. A PostgreSQL that
// was restored from a backup counts from there, and the log may still have the
// events of one that was made since and is lost: a new one must not inherit them.
func (s *Store) newID(ctx context.Context, tx pgx.Tx, next string, subject func(int64) string) (id int64, err error) {
	for {
		if err := tx.QueryRow(ctx, next).Scan(&id); err != nil || s.inLog == nil {
			return id, err
		}
		taken, err := s.inLog(ctx, subject(id))
		if err != nil || !taken {
			return id, err
		}
		s.log.WarnContext(ctx, "a number is skipped: the log has events of what is lost", "subject", subject(id))
	}
}

func (s *Store) newRoomID(ctx context.Context, tx pgx.Tx) (vezechat.RoomID, error) {
	id, err := s.newID(ctx, tx, nextRoomID, func(id int64) string { return vezechat.RoomSubject(vezechat.RoomID(id)) })
	return vezechat.RoomID(id), err
}

func (s *Store) newTicketID(ctx context.Context, tx pgx.Tx) (vezechat.TicketID, error) {
	id, err := s.newID(ctx, tx, nextTicketID, func(id int64) string { return vezechat.TicketSubject(vezechat.TicketID(id)) })
	return vezechat.TicketID(id), err
}

// insertRoom returns pgx.ErrNoRows for a direct message that is there already.
func (s *Store) insertRoom(ctx context.Context, tx pgx.Tx, n newRoom) (id vezechat.RoomID, err error) {
	meta := n.meta
	if len(bytes.TrimSpace(meta)) == 0 {
		meta = vezechat.Meta(`{}`)
	}
	if id, err = s.newRoomID(ctx, tx); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, insertRoomRow, id, n.name.Text, n.name.Key, n.name.Look, n.kind, []byte(meta), n.by, n.low, n.high, n.public).Scan(&id)
	if violates(err, "rooms_name_key", "rooms_name_look") {
		return 0, nameTaken(err)
	}
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, insertHead, id)
	return id, err
}

func nameTaken(err error) error {
	return vezechat.WrapError(vezechat.CodeConflict, err, "that name, or one that looks like it, is taken")
}

const updateRoomRow = `
UPDATE rooms SET
    name = coalesce($2, name), name_key = coalesce($3, name_key), name_look = coalesce($4, name_look),
    meta = coalesce($5, meta), slow_mode = coalesce($6, slow_mode), locked = coalesce($7, locked), public = coalesce($8, public)
WHERE id = $1`

// UpdateRoom implements vezechat.RoomService.
func (s *Store) UpdateRoom(ctx context.Context, r vezechat.UpdateRoom) (vezechat.Room, error) {
	name, err := checkUpdate(r)
	if err != nil {
		return vezechat.Room{}, err
	}
	var room vezechat.Room
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		was, err := s.lock(ctx, tx, r.RoomRef, vezechat.ActionModify)
		if err == nil && r.Public != nil && was.Room.Kind != vezechat.KindGuild {
			err = publicGuilds()
		}
		if err != nil {
			return err
		}
		if name != nil {
			if err := notOfMatch(ctx, tx, r.Caller, *name); err != nil {
				return err
			}
		}
		if err := updateRoom(ctx, tx, r, name); err != nil {
			return err
		}
		if err := s.auditUpdate(ctx, tx, r, was.Room); err != nil {
			return err
		}
		a, err := access(ctx, tx, selectAccess, r.Caller, r.RoomID)
		if err != nil {
			return err
		}
		room = a.Room
		return emit(ctx, tx, []vezechat.Event{{
			Type: vezechat.EventRoomUpdated, RoomID: r.RoomID, UserID: r.Caller.UserID, Handle: r.Caller.Handle,
			Name: room.Name, SlowMode: &room.SlowMode, Locked: &room.Locked, Public: r.Public, At: s.now(),
		}}, r.Trace)
	})
	if err != nil {
		return vezechat.Room{}, err
	}
	s.signalOutbox()
	return room, nil
}

// auditUpdate writes what an update does of what moderators do otherwise.
func (s *Store) auditUpdate(ctx context.Context, tx pgx.Tx, r vezechat.UpdateRoom, was vezechat.Room) error {
	slow, locked := was.SlowMode, was.Locked
	e := vezechat.AuditEntry{At: s.now(), ActorID: r.Caller.UserID, RoomID: r.RoomID}
	if r.SlowMode != nil && *r.SlowMode != slow {
		slow = *r.SlowMode
		e.Action = vezechat.ModSlowMode
		e.Before, e.After = roomStates(was, slow, locked)
		if err := audit(ctx, tx, &e); err != nil {
			return err
		}
		was.SlowMode = slow
	}
	if r.Locked != nil && *r.Locked != locked {
		e.Action = vezechat.ModUnlock
		if *r.Locked {
			e.Action = vezechat.ModLock
		}
		e.Before, e.After = roomStates(was, slow, *r.Locked)
		return audit(ctx, tx, &e)
	}
	return nil
}

func checkUpdate(r vezechat.UpdateRoom) (name *names.Name, err error) {
	if r.Name != nil {
		n, err := names.Room(*r.Name)
		if err != nil {
			return nil, err
		}
		name = &n
	}
	if r.SlowMode != nil && (*r.SlowMode < 0 || *r.SlowMode > vezechat.MaxSlowMode) {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "slow mode is 0 to %d seconds", vezechat.MaxSlowMode)
	}
	if r.Meta != nil {
		return name, checkMeta(*r.Meta)
	}
	return name, nil
}

func updateRoom(ctx context.Context, tx pgx.Tx, r vezechat.UpdateRoom, name *names.Name) error {
	var text, key, look *string
	if name != nil {
		text, key, look = &name.Text, &name.Key, &name.Look
	}
	var meta []byte
	if r.Meta != nil {
		if meta = bytes.TrimSpace(*r.Meta); len(meta) == 0 {
			meta = []byte(`{}`)
		}
	}
	_, err := tx.Exec(ctx, updateRoomRow, r.RoomID, text, key, look, meta, r.SlowMode, r.Locked, r.Public)
	if violates(err, "rooms_name_key", "rooms_name_look") {
		return nameTaken(err)
	}
	return err
}

const archiveRoomRow = `
UPDATE rooms SET archived_at = $2 WHERE id = $1`

// ArchiveRoom implements vezechat.RoomService.
func (s *Store) ArchiveRoom(ctx context.Context, r vezechat.RoomRef) error {
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a, err := s.lock(ctx, tx, r, vezechat.ActionSee)
		if err != nil || a.Room.ArchivedAt != nil {
			return err
		}
		if err := a.May(r.Caller, vezechat.ActionArchive, s.now()); err != nil {
			return err
		}
		at := s.now()
		if _, err := tx.Exec(ctx, archiveRoomRow, r.RoomID, at); err != nil {
			return err
		}
		noticeAfter(tx, vezechat.ModNotice{Archived: r.RoomID})
		return emit(ctx, tx, []vezechat.Event{{
			Type: vezechat.EventRoomArchived, RoomID: r.RoomID, UserID: r.Caller.UserID, Handle: r.Caller.Handle, At: at,
		}}, r.Trace)
	})
	if err == nil {
		s.signalOutbox()
	}
	return err
}
