package game

import (
	"context"
	"errors"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Bounds of trends.
const (
	DefaultRoomsPerHour   = 6
	DefaultLinesPerMinute = 30
	maxSaid               = 4096 // rooms whose lines of this minute are counted
)

// trendsMatch is below which name trends are said: those of one source are in order.
const trendsMatch = "trends"

// errOverLimit says that a trend is over a limit: it is not tried again.
var errOverLimit = errors.New("over a limit")

func overLimit(format string, args ...any) error {
	return vezechat.WrapError(vezechat.CodeRateLimited, errOverLimit, format, args...)
}

// minute is what was said in a room in one minute, by the clock of the stream of games.
type minute struct {
	at   int64
	seqs map[vezechat.Seq]bool // a line that is tried again counts once
}

// trend brings a line into the room that it names, and makes the room if it is the
// first.
func (b *Bridge) trend(ctx context.Context, c vezechat.Caller, m match, e *vezechat.GameEvent, r vezechat.GameRecord) error {
	switch {
	case !slices.Contains(b.cfg.Trends, m.game):
		return vezechat.Errorf(vezechat.CodeForbidden, "%s may not say trends", m.game)
	case m.name != trendsMatch:
		return vezechat.Errorf(vezechat.CodeBadRequest, "trends are said as the match %s", trendsMatch)
	}
	c.Scopes = append(slices.Clone(c.Scopes), vezechat.ScopeChatAdmin) // rooms for everybody are an administrator's
	room, err := b.trendRoom(ctx, c, m.game, e.Room, r)
	if err != nil {
		return err
	}
	if !b.mayLine(room, r) {
		return overLimit("%s has its %d lines of this minute", e.Room, b.cfg.LinesPerMinute)
	}
	if err := b.line(ctx, c, room, e, r); err != nil {
		return err
	}
	b.metrics.events.WithLabelValues(string(e.Type)).Inc()
	return nil
}

// mayLine counts a line of a room.
func (b *Bridge) mayLine(room vezechat.RoomID, r vezechat.GameRecord) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := r.At.Unix() / 60
	m := b.said[room]
	if m.at != now {
		if len(b.said) >= maxSaid {
			clear(b.said)
		}
		m = minute{at: now, seqs: map[vezechat.Seq]bool{}}
		b.said[room] = m
	}
	if !m.seqs[r.Seq] && len(m.seqs) >= b.cfg.LinesPerMinute {
		return false
	}
	m.seqs[r.Seq] = true
	return true
}

// trendRoom returns the room of a trend. One that somebody has archived takes no more
// lines, and one that somebody else has made never did.
func (b *Bridge) trendRoom(ctx context.Context, c vezechat.Caller, source, name string, r vezechat.GameRecord) (vezechat.RoomID, error) {
	key := match{source, name} // no match is called so
	b.mu.Lock()
	at, ok := b.rooms[key]
	forgot := b.forgot
	b.mu.Unlock()
	if ok {
		return at.room, b.open(ctx, c, at.room, name)
	}
	room, made, err := b.findTrend(ctx, c, name, r.At.Add(-time.Hour))
	switch {
	case err != nil:
		return 0, err
	case room.ID != 0 && room.CreatedBy != c.UserID:
		return 0, vezechat.Errorf(vezechat.CodeConflict, "the room %q is somebody else's", name)
	case room.ArchivedAt != nil:
		return 0, archived(name)
	case room.ID == 0 && made >= b.cfg.RoomsPerHour:
		return 0, overLimit("%s has its %d rooms of this hour", source, b.cfg.RoomsPerHour)
	case room.ID == 0:
		room, err = b.cfg.Rooms.CreateRoom(ctx, vezechat.CreateRoom{Caller: c, Name: name, Kind: vezechat.KindGlobal, Key: "trend:" + name, Trace: r.Trace})
		if err != nil {
			return 0, err
		}
	}
	if !room.Locked && room.LastAt == nil { // it is new; whoever unlocks it later has it so
		locked := true
		ref := vezechat.RoomRef{Caller: c, RoomID: room.ID, Trace: r.Trace}
		if _, err := b.cfg.Rooms.UpdateRoom(ctx, vezechat.UpdateRoom{RoomRef: ref, Locked: &locked}); err != nil {
			return 0, err
		}
	}
	b.remember(key, place{room: room.ID}, forgot)
	return room.ID, nil
}

func archived(name string) error {
	return vezechat.Errorf(vezechat.CodeConflict, "the room %q is archived", name)
}

// open returns nil for a room that nobody has archived: trends are few, and asking is
// cheap.
func (b *Bridge) open(ctx context.Context, c vezechat.Caller, room vezechat.RoomID, name string) error {
	acc, err := b.cfg.Rooms.Access(ctx, vezechat.RoomRef{Caller: c, RoomID: room})
	if err == nil && acc.Room.ArchivedAt != nil {
		return archived(name)
	}
	return err
}

// findTrend looks for a global room by its name, a living one before one that is
// archived, and counts those that the caller has made since a moment.
func (b *Bridge) findTrend(ctx context.Context, c vezechat.Caller, name string, since time.Time) (found vezechat.Room, made int, err error) {
	q := vezechat.RoomQuery{Caller: c, Archived: true, Limit: vezechat.MaxPage}
	for {
		rooms, err := b.cfg.Rooms.Rooms(ctx, q)
		if err != nil {
			return found, 0, err
		}
		for _, r := range rooms {
			if r.Kind != vezechat.KindGlobal {
				continue
			}
			if r.Name == name && (found.ID == 0 || r.ArchivedAt == nil) {
				found = r
			}
			if r.CreatedBy == c.UserID && r.CreatedAt.After(since) {
				made++
			}
		}
		if len(rooms) < q.Limit {
			return found, made, nil
		}
		q.After = rooms[len(rooms)-1].ID
	}
}
