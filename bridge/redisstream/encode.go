package redisstream

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"vezeuniqverse.com/vezechat"
)

// maxChunk is how many bytes of payload one step takes: Redis does nothing else
// meanwhile.
const maxChunk = 1 << 20

// cut splits a run where a step ends.
func cut(run []vezechat.Record) (chunk, rest []vezechat.Record) {
	size := 0
	for i, r := range run {
		if size += len(r.Payload); size > maxChunk && i > 0 {
			return run[:i], run[i:]
		}
	}
	return run, nil
}

// encode makes the entries of a chunk, and puts away what cannot be one.
func (m *Mirror) encode(ctx context.Context, chunk []vezechat.Record) ([]any, error) {
	prevs, asked, err := m.chain.link(ctx, chunk)
	if err != nil {
		return nil, err
	}
	m.metrics.chainAsked.Add(float64(asked))
	size := 0
	for _, r := range chunk {
		size += len(r.Payload) + 96 // room for three places of 19 digits
	}
	buf, entries := make([]byte, 0, size), make([]any, 0, len(chunk))
	for i, r := range chunk {
		if !object(r.Payload) {
			if err := m.bury(ctx, r); err != nil {
				return nil, err
			}
			continue
		}
		start := len(buf)
		buf = vezechat.AppendPlaced(buf, r.Payload, r.Seq, prevs[i])
		entries = append(entries, buf[start:len(buf):len(buf)])
	}
	return entries, nil
}

// object reports whether a payload is a JSON object that a member can be added
// to by AppendPlaced.
func object(b []byte) bool {
	return len(b) > 2 && b[0] == '{' && b[1] == '"' && b[len(b)-1] == '}' && json.Valid(b)
}

// errNoObject is why a record goes to the dead letters.
var errNoObject = errors.New("not a JSON object")

// bury puts a record among the dead letters; the same one twice is one.
func (m *Mirror) bury(ctx context.Context, r vezechat.Record) error {
	letter, err := vezechat.Bury("bridge", r, errNoObject)
	if err != nil {
		return err
	}
	if _, err := m.cfg.Log.Append(ctx, letter); err != nil {
		return err
	}
	m.metrics.poison.Inc()
	m.log.Error("a record of the log is not a JSON object, passed over", "seq", r.Seq, "subject", r.Subject)
	return nil
}

// delay measures how long the chunk's first event took from its making to Redis.
func (m *Mirror) delay(r vezechat.Record) {
	var e struct {
		At time.Time `json:"at"`
	}
	if json.Unmarshal(r.Payload, &e) == nil && !e.At.IsZero() {
		m.metrics.delay.Observe(m.cfg.Clock().Sub(e.At).Seconds())
	}
}
