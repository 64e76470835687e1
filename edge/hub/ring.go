package hub

import (
	"bytes"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// ring keeps a room's last frames, ready to be sent to who comes back. Its
// methods are called with the room's mu held.
type ring struct {
	base   vezechat.Seq // every event above it is in frames
	frames []ringFrame
	bytes  int
}

type ringFrame struct {
	seq   vezechat.Seq
	about vezechat.MessageID // the message whose text it has; 0: none
	frame []byte
}

// Bounds of one room's ring; all rooms together are bounded by Config.RingBytes.
const (
	ringFrames = 1024
	ringBytes  = 512 << 10
	ringSpare  = 16 // frames kept when all rings together are full
)

func (g *ring) reset(base vezechat.Seq) { g.base, g.frames, g.bytes = base, nil, 0 }

func (g *ring) clear(h *Hub) {
	h.ringBytes.Add(-int64(g.bytes))
	g.reset(g.base)
}

func (g *ring) push(h *Hub, f ringFrame) {
	g.frames = append(g.frames, f)
	g.bytes += len(f.frame)
	total := h.ringBytes.Add(int64(len(f.frame)))
	limit := ringFrames
	if total > h.cfg.RingBytes {
		limit = ringSpare
	}
	cut := 0
	for freed := 0; len(g.frames)-cut > limit || g.bytes-freed > ringBytes && cut < len(g.frames)-1; cut++ {
		freed += len(g.frames[cut].frame)
	}
	// Cut in strides: moving the frames for each new one would cost more than
	// keeping a quarter too many.
	if cut > limit/4 || cut > 0 && total > h.cfg.RingBytes || cut > 0 && g.bytes > 2*ringBytes {
		g.trim(h, cut)
	}
}

func (g *ring) trim(h *Hub, n int) {
	for _, f := range g.frames[:n] {
		g.bytes -= len(f.frame)
		h.ringBytes.Add(-int64(len(f.frame)))
	}
	g.base = g.frames[n-1].seq
	g.frames = append(make([]ringFrame, 0, len(g.frames)), g.frames[n:]...)
}

// after returns the frames above a place; ok is false when the ring does not
// reach back to it.
func (g *ring) after(seq vezechat.Seq) (frames []ringFrame, ok bool) {
	if seq < g.base {
		return nil, false
	}
	lo, hi := 0, len(g.frames)
	for lo < hi {
		if mid := (lo + hi) / 2; g.frames[mid].seq > seq {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return g.frames[lo:], true
}

// denies reports whether the ring has another event at a place than this one: the
// log has two pasts.
func (g *ring) denies(seq vezechat.Seq, payload []byte) bool {
	if seq <= g.base {
		return false
	}
	frames, _ := g.after(seq - 1)
	if len(frames) == 0 || frames[0].seq != seq {
		return true
	}
	body, _ := bytes.CutSuffix(payload, []byte{'}'})
	kept := wire.Payload(frames[0].frame)
	return !bytes.HasPrefix(kept, body) && !sameButText(kept, payload)
}

// sameButText reports whether two payloads are one event, from which the text may
// have been taken on one way and not on another.
func sameButText(a, b []byte) bool {
	ea, _ := vezechat.ParseEvent(a) // without a text it is not valid, and yet read
	eb, _ := vezechat.ParseEvent(b)
	ea.Text, eb.Text = "", ""
	return ea.Type != "" && bytes.Equal(vezechat.AppendEvent(nil, &ea), vezechat.AppendEvent(nil, &eb))
}

// scrub takes the text of a message out of the frames: it was hidden or deleted.
func (g *ring) scrub(h *Hub, id vezechat.MessageID) {
	for i, f := range g.frames {
		if f.about != id {
			continue
		}
		e, err := vezechat.ParseEvent(wire.Payload(f.frame))
		if err != nil {
			h.log.Warn("a frame of the ring is not an event", "seq", f.seq, "err", err)
			continue
		}
		e.Text = ""
		g.frames[i].frame = encode(e.Seq, e.Prev, vezechat.AppendEvent(nil, &e)) // sockets may still hold the old one
		less := len(f.frame) - len(g.frames[i].frame)
		g.bytes -= less
		h.ringBytes.Add(-int64(less))
	}
}

// about returns the message whose text an event has, 0 when it has none.
func about(seq vezechat.Seq, payload []byte) vezechat.MessageID {
	switch vezechat.TypeOf(payload) {
	case vezechat.EventMessageCreated:
		return seq
	case vezechat.EventMessageEdited:
		if e, err := vezechat.ParseEvent(payload); err == nil {
			return e.MessageID
		}
	}
	return 0
}
