package edge

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Limits of tickers. What may wait for one is what may wait for a socket.
const (
	mimeEvents    = "text/event-stream"
	tickerLines   = 10 // of each room, where it is not said
	maxTickerLine = 50
	tickerRetry   = 3 * time.Second // after which browsers come back when the stream breaks
	maxTickerIn   = 64 << 10        // bytes that who only looks may send meanwhile
)

// tickerAsk is what a ticker is asked for.
type tickerAsk struct {
	rooms  []vezechat.Room
	cursor wire.Cursor
}

func (a tickerAsk) shown() []wire.TickerRoom {
	out := make([]wire.TickerRoom, 0, len(a.rooms))
	for _, r := range a.rooms {
		out = append(out, wire.TickerRoom{ID: r.ID, Name: r.Name, Kind: r.Kind})
	}
	return out
}

// ticker shows the lines of rooms to who only looks: as they stand, or, to who takes
// an event stream, live.
func (e *Edge) ticker(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	rooms, after := p.Strings("room"), p.String("after")
	lines := int(p.Int("lines", tickerLines, 0, maxTickerLine))
	if err := p.Err(); err != nil {
		return err
	}
	if last := c.Get("Last-Event-ID"); last != "" { // later than what the address says
		after = last
	}
	var a tickerAsk
	if a.cursor, err = wire.ParseCursor(after); err != nil {
		return err
	}
	if a.rooms, err = e.tickerRooms(c.UserContext(), s.Caller, rooms); err != nil {
		return err
	}
	c.Vary(fiber.HeaderAccept)
	if c.Method() == fiber.MethodHead || c.Accepts(fiber.MIMEApplicationJSON, mimeEvents) != mimeEvents {
		return e.tickerNow(c, s, a, lines)
	}
	return e.tickerLive(c, s, a)
}

// tickerRooms are the rooms that are named, or the public ones that were spoken in
// last.
func (e *Edge) tickerRooms(ctx context.Context, caller vezechat.Caller, named []string) ([]vezechat.Room, error) {
	if len(named) == 0 {
		rooms, err := e.cfg.Rooms.Rooms(ctx, vezechat.RoomQuery{Caller: caller, Limit: vezechat.MaxPage})
		if err != nil {
			return nil, err
		}
		rooms = slices.DeleteFunc(rooms, func(r vezechat.Room) bool {
			return r.ArchivedAt != nil || r.Kind != vezechat.KindGlobal && !r.Public
		})
		slices.SortStableFunc(rooms, func(a, b vezechat.Room) int { return lastAt(b).Compare(lastAt(a)) })
		return rooms[:min(len(rooms), wire.MaxTickerRooms)], nil
	}
	if len(named) > wire.MaxTickerRooms {
		return nil, vezechat.Errorf(vezechat.CodeTooLarge, "room: a ticker has at most %d", wire.MaxTickerRooms)
	}
	var rooms []vezechat.Room
	for _, name := range named {
		id, err := vezechat.ParseRoomID(name)
		if err != nil {
			return nil, vezechat.Errorf(vezechat.CodeBadRequest, "room: want ids of rooms")
		}
		if slices.ContainsFunc(rooms, func(r vezechat.Room) bool { return r.ID == id }) {
			continue
		}
		acc, err := e.ask(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		rooms = append(rooms, acc.Room)
	}
	return rooms, nil
}

func lastAt(r vezechat.Room) time.Time {
	if r.LastAt == nil {
		return time.Time{}
	}
	return *r.LastAt
}

// tickerView is a room of a ticker as it stands.
type tickerView struct {
	wire.TickerRoom
	Members int          `json:"members"`
	Here    *int         `json:"here,omitempty"` // online now; none: this edge does not follow the room
	Head    vezechat.Seq `json:"head"`
}

// tickerNow answers with the last lines, and the cursor that goes on after them.
func (e *Edge) tickerNow(c *fiber.Ctx, s Session, a tickerAsk, lines int) error {
	cursor := wire.Cursor{At: map[vezechat.RoomID]vezechat.Seq{}}
	if e.cfg.Hub != nil {
		cursor.Epoch = e.cfg.Hub.Epoch()
	}
	views, all := make([]tickerView, 0, len(a.rooms)), []vezechat.Message{}
	for i, shown := range a.shown() {
		page, err := e.cfg.Messages.Messages(c.UserContext(), vezechat.History{RoomRef: vezechat.RoomRef{Caller: s.Caller, RoomID: shown.ID}, Limit: max(lines, 1)})
		if vezechat.CodeOf(err) == vezechat.CodeNotFound { // gone since it was listed
			continue
		}
		if err != nil {
			return err
		}
		v := tickerView{TickerRoom: shown, Members: a.rooms[i].Members, Head: page.Head}
		if e.cfg.Hub != nil {
			if n, ok := e.cfg.Hub.Online(shown.ID); ok {
				v.Here = &n
			}
		}
		cursor.At[shown.ID] = page.Head
		views = append(views, v)
		if lines > 0 {
			all = append(all, page.Messages...)
		}
	}
	slices.SortFunc(all, func(a, b vezechat.Message) int { return cmp.Compare(a.ID, b.ID) })
	return c.JSON(fiber.Map{"cursor": cursor.String(), "rooms": views, "lines": all})
}

// tickerLive takes the connection from the HTTP server and goes on as a socket that
// only listens. There is no length and no chunk: the stream ends with the connection
// (RFC 9112 §6.3).
func (e *Edge) tickerLive(c *fiber.Ctx, s Session, a tickerAsk) error {
	if e.cfg.Hub == nil {
		return vezechat.Errorf(vezechat.CodeUnavailable, "nothing is live here")
	}
	if len(a.rooms) == 0 {
		return vezechat.Errorf(vezechat.CodeNotFound, "there is no public room yet")
	}
	st := &start{session: &s, address: e.clientIP(c), trace: TraceOf(c)}
	if err := e.door.take(doorConnect, e.cfg.Door.Connect, st.address, e.cfg.Now()); err != nil {
		return err
	}
	var err error
	if st.leave, err = e.door.enter(st.address); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, mimeEvents)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // a proxy that gathers would show nothing
	c.Response().Header.SetContentLength(-2)
	c.Response().Header.SetConnectionClose()
	head := append(slices.Clone(c.Response().Header.Header()), wire.RetryAfter(tickerRetry)...)
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(conn net.Conn) {
		nc, _, mine := takeOver(conn)
		if !mine || e.base.Err() != nil { // Run no longer waits for new ones
			st.leave()
			_ = conn.Close()
			return
		}
		e.sockets.Add(1)
		go e.tick(e.newSource(nc, nil), st, a, head)
	})
	return nil
}

// tick is a ticker's goroutine from its beginning to its end.
func (e *Edge) tick(src *source, st *start, a tickerAsk, head []byte) {
	defer e.gone(src)
	defer st.leave()
	defer e.panicked()
	w := &tickerWriter{NetWriter: hub.NewNetWriter(src.conn), ticker: wire.NewTicker(st.session.Caller.UserID, a.shown(), a.cursor)}
	if w.NetWriter.Write(head, handshakeWrite) != nil {
		return // it has gone
	}
	e.metrics.tickers.Inc()
	defer e.metrics.tickers.Dec()
	w.ticker.Shown = func(n int) { e.metrics.tickerEvents.Add(float64(n)) }
	w.ticker.Alive = w.alive
	hc, err := e.enter(w, st)
	if err != nil { // browsers come back by themselves
		_ = w.NetWriter.Write(wire.RetryAfter(time.Second+rand.N(lateSpread)), handshakeWrite) // it may have gone
		w.Finish()
		src.linger()
		return
	}
	defer func() { e.metrics.tickerEnds.WithLabelValues(w.ended()).Inc() }()
	defer e.leave(hc)
	w.conn.Store(hc)
	hc.Hide()
	e.watchRooms(hc, st.session.Caller, a)
	for n := 0; n < maxTickerIn && src.read() == nil; n += src.n { // here the ticker waits
	}
	src.giveBack()
}

// watchRooms puts a ticker into its rooms.
func (e *Edge) watchRooms(hc *hub.Conn, caller vezechat.Caller, a tickerAsk) {
	ctx, cancel := context.WithTimeout(e.base, sendTimeout)
	defer cancel()
	for _, r := range a.rooms {
		req := hub.JoinRequest{
			RoomID: r.ID, Epoch: a.cursor.Epoch,
			Ask: func(ctx context.Context) (vezechat.Access, error) { return e.ask(ctx, caller, r.ID) },
			May: func(acc vezechat.Access) error { return acc.May(caller, vezechat.ActionSee, e.cfg.Now()) },
		}
		if seq, ok := a.cursor.At[r.ID]; ok {
			req.After = &seq
		}
		if err := hc.Join(ctx, req); err != nil {
			hc.Send(wire.Refused(nil, r.ID, vezechat.AsError(err)))
			continue
		}
		n, _ := e.cfg.Hub.Online(r.ID)
		hc.Send(wire.Counted(r.ID, n))
	}
}

// tickerWriter writes to who reads an event stream what the hub writes to a socket.
type tickerWriter struct {
	*hub.NetWriter
	ticker *wire.Ticker
	conn   atomic.Pointer[hub.Conn]
	end    atomic.Pointer[string]

	// The frames that the hub is at as an event stream, as far as the connection has
	// not taken it. The hub offers the same frames again until it has.
	rest []byte
}

func (w *tickerWriter) translate(frames []byte) {
	if len(w.rest) > 0 {
		return
	}
	w.rest = w.ticker.Append(w.rest[:0], frames)
}

// over ends the stream when the ticker has: nothing comes after its last word.
func (w *tickerWriter) over() error {
	why, closed := w.ticker.End()
	if why == "" {
		return nil
	}
	w.end.Store(&why)
	if closed { // the hub ends it
		return nil
	}
	w.NetWriter.Finish()
	return net.ErrClosed
}

// TryWrite is that of hub.Writer: it takes all of the frames, or none of them yet.
func (w *tickerWriter) TryWrite(frames []byte) (int, error) {
	w.translate(frames)
	n, err := w.NetWriter.TryWrite(w.rest)
	w.rest = w.rest[n:]
	if err != nil || len(w.rest) > 0 {
		return 0, err
	}
	w.rest = nil
	return len(frames), w.over()
}

// Write is that of hub.Writer.
func (w *tickerWriter) Write(frames []byte, timeout time.Duration) error {
	w.translate(frames)
	err := w.NetWriter.Write(w.rest, timeout)
	w.rest = nil
	if err != nil {
		return err
	}
	return w.over()
}

// alive answers a ping for a client that cannot: one that takes nothing is found by
// that.
func (w *tickerWriter) alive() {
	if hc := w.conn.Load(); hc != nil {
		hc.Heard()
	}
}

// ended is why the stream has ended, of a closed set.
func (w *tickerWriter) ended() string {
	if end := w.end.Load(); end != nil {
		return *end
	}
	return "left"
}
