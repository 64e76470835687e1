package hub

import "vezeuniqverse.com/vezechat"

// ring keeps a room's last frames, ready to be sent to who comes back. Its
// methods are called with the room's mu held.
type ring struct {
	base   vezechat.Seq // every event above it is in frames
	frames []ringFrame
	bytes  int
}

type ringFrame struct {
	seq   vezechat.Seq
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

func (g *ring) push(h *Hub, seq vezechat.Seq, frame []byte) {
	g.frames = append(g.frames, ringFrame{seq, frame})
	g.bytes += len(frame)
	total := h.ringBytes.Add(int64(len(frame)))
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
