package chaos

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/fasthttp/websocket"

	"vezeuniqverse.com/vezechat"
)

// watch keeps the watcher in a match's room, at one edge or the other, until ctx is done.
func (g *gamesRun) watch(ctx context.Context, f *feed) {
	for i := int(f.room); ctx.Err() == nil; i++ {
		if err := g.sit(ctx, f, g.world.edges[i%edgeCount]); err != nil && ctx.Err() == nil {
			g.notes.count("sockets of the watcher that ended")
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// sit watches by one socket until it ends.
func (g *gamesRun) sit(ctx context.Context, f *feed, edge string) error {
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(edge, "http")+"/ws", http.Header{"Authorization": {"Bearer " + g.watcher}})
	if err != nil {
		if resp != nil && resp.StatusCode < 500 {
			g.notes.find(promiseProto, "an edge refuses the watcher: %s", resp.Status)
		}
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var hello frame
	if err := conn.ReadJSON(&hello); err != nil {
		return err
	}
	join := func() error {
		after := f.screen.ask(true)
		return conn.WriteJSON(map[string]any{"type": "join", "ref": "1", "room_id": f.room, "after": *after, "epoch": hello.Epoch})
	}
	if err := join(); err != nil {
		return err
	}
	for {
		var e gameFrame
		if err := conn.ReadJSON(&e); err != nil {
			return err
		}
		again, err := g.heard(f, e)
		if err == nil && again {
			err = join()
		}
		if err != nil {
			return err
		}
	}
}

// gameFrame is a frame, with the text of a line.
type gameFrame struct {
	frame
	Text string `json:"text"`
}

// heard takes a frame. again: the watcher joins again; an error: it comes back by
// another socket.
func (g *gamesRun) heard(f *feed, e gameFrame) (again bool, err error) {
	switch {
	case e.Type == "error" && e.Code != "unavailable":
		g.notes.find(promiseProto, "the watcher is refused: %s: %s", e.Code, e.Message)
		return false, errLeft
	case e.Type == "error":
		return false, errLeft
	case e.Type == "ok" && e.Reset:
		g.notes.find(promiseResume, "%s: the cursor %d means nothing any more", f.match.Name, f.screen.cursor.Load())
		fallthrough
	case e.Type == "ok":
		f.screen.joined(e.Head)
	case e.Type == "lag":
		f.screen.lagged()
		g.notes.count("lag")
		return true, nil
	case e.Seq > 0:
		return g.saw(f, e), nil
	}
	return false, nil
}

// saw shows an event on the screen; again: the watcher joins again.
func (g *gamesRun) saw(f *feed, e gameFrame) (again bool) {
	at := f.screen.cursor.Load()
	again, wrong := f.screen.show(e.Seq, e.Prev, 0)
	if wrong != "" {
		g.notes.find(promiseScreen, "%s: %s: event %d after %d", f.match.Name, wrong, e.Seq, e.Prev)
	}
	if f.screen.cursor.Load() > at && e.Type == string(vezechat.EventMessageCreated) {
		f.mu.Lock()
		f.lines = append(f.lines, e.Text)
		f.mu.Unlock()
	}
	return again
}
