package redisstream

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Bounds of the search for common ground.
const (
	searchPage  = 500
	searchPages = 40
)

// open reads the position and makes sure that it speaks of the log that is there.
//
// It does when the epoch is the same and the record at the position is the one
// that was mirrored (or is gone from the log by now). Otherwise:
//
//   - The log ends below the position: it lost its tail, or is being recreated.
//     That is alarming and may pass, so nothing is done for Config.Grace.
//   - The log lost its tail and handed out the same places again, it began
//     anew under another epoch, or Redis has entries and no position: mirroring
//     goes on from the newest entry of the stream that the log has too, else
//     from the log's beginning. What the log lost stays in the stream; nothing
//     that it has now is left out, nothing is added twice.
func (m *Mirror) open(ctx context.Context) (position, error) {
	pos, err := m.cursor(ctx)
	if err != nil {
		return pos, err
	}
	m.noteLoss(pos)
	st, err := m.state(ctx)
	if err != nil {
		return pos, err
	}
	ok, err := m.agrees(ctx, pos, st)
	if ok || err != nil {
		return pos, err
	}
	return m.rebase(ctx, pos, st)
}

// agrees reports whether the position is one of this log. An error is errBehind
// while the log is waited for.
func (m *Mirror) agrees(ctx context.Context, pos position, st vezechat.LogState) (bool, error) {
	if pos.seq > st.Last {
		return false, m.behind(pos, st)
	}
	m.notBehind()
	switch {
	case pos.epoch != st.Epoch:
		return false, nil
	case pos.seq < st.First || pos.print == "":
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	r, err := m.cfg.Reader.At(ctx, pos.seq)
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeNotFound:
		return true, nil
	case err != nil:
		return false, err
	}
	return fingerprint(r) == pos.print, nil
}

// behind returns errBehind until the grace is over, then nil.
func (m *Mirror) behind(pos position, st vezechat.LogState) error {
	now := m.cfg.Clock()
	m.metrics.behind.Set(1)
	if m.behindSince.IsZero() {
		m.behindSince = now
		m.log.Error("the log ends below what was mirrored: it lost its tail", "mirrored", pos.seq, "last", st.Last, "epoch", st.Epoch, "mirrored_epoch", pos.epoch)
	}
	if now.Sub(m.behindSince) < m.cfg.Grace {
		return fmt.Errorf("%w: it ends at %d, %d was mirrored", errBehind, st.Last, pos.seq)
	}
	m.notBehind()
	return nil
}

func (m *Mirror) notBehind() {
	m.behindSince = time.Time{}
	m.metrics.behind.Set(0)
}

// rebase finds the place in this log from which mirroring goes on.
func (m *Mirror) rebase(ctx context.Context, pos position, st vezechat.LogState) (position, error) {
	common, err := m.common(ctx, st)
	if err != nil {
		return pos, err
	}
	next := position{epoch: st.Epoch, seq: max(common, st.First-1)}
	if pos == (position{}) {
		m.log.Info("the mirror begins", "stream", m.cfg.Stream, "epoch", next.epoch, "after", next.seq)
	} else {
		m.metrics.moves.WithLabelValues(moveLog).Inc()
		m.log.Error("the log is not the one that was mirrored, going on from the last event in common",
			"mirrored", pos.seq, "mirrored_epoch", pos.epoch, "epoch", next.epoch, "after", next.seq, "first", st.First, "last", st.Last)
	}
	found, err := m.commit(ctx, pos, next, nil)
	if err == nil && found != next {
		err = errMoved
	}
	return next, err
}

// common returns the place of the newest entry of the stream that the log has
// too, 0 when there is none among the last entries.
func (m *Mirror) common(ctx context.Context, st vezechat.LogState) (vezechat.Seq, error) {
	end := "+"
	for range searchPages {
		rctx, cancel := context.WithTimeout(ctx, opTimeout)
		page, err := m.cfg.Redis.XRevRangeN(rctx, m.cfg.Stream, end, "-", searchPage).Result()
		cancel()
		if err != nil {
			return 0, &redisError{"read the stream", err}
		}
		for _, x := range page {
			payload, _ := x.Values["payload"].(string)
			seq, ok, err := m.inLog(ctx, []byte(payload), st)
			if ok || err != nil {
				return seq, err
			}
			end = "(" + x.ID
		}
		if len(page) < searchPage {
			break
		}
	}
	return 0, nil
}

// inLog reports whether an entry is what the log has at the entry's place.
func (m *Mirror) inLog(ctx context.Context, payload []byte, st vezechat.LogState) (vezechat.Seq, bool, error) {
	seq := seqOf(payload)
	if seq < st.First || seq > st.Last {
		return 0, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	r, err := m.cfg.Reader.At(ctx, seq)
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeNotFound:
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	body, ok := bytes.CutSuffix(r.Payload, []byte{'}'})
	return seq, ok && bytes.HasPrefix(payload, body), nil
}

// seqOf returns the place that AppendPlaced wrote into an entry, 0 when there is
// none: the entry is another producer's.
func seqOf(payload []byte) vezechat.Seq {
	_, rest, ok := cutLast(payload, []byte(`,"seq":`))
	if !ok {
		return 0
	}
	digits, _, _ := bytes.Cut(rest, []byte{','})
	seq, err := vezechat.ParseSeq(string(digits))
	if err != nil {
		return 0
	}
	return seq
}

func cutLast(b, sep []byte) (before, after []byte, found bool) {
	i := bytes.LastIndex(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+len(sep):], true
}
