package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

// acks hands the log's acknowledgements to those who wait for them: one
// subscription for all, where a request for each makes a channel, a context and
// two timers of its own and has its answer decoded by reflection.
type acks struct {
	prefix string // of the subjects that acknowledgements are sent to
	pool   sync.Pool

	mu      sync.Mutex // guards below
	last    uint64     // id that was given out last
	waiting map[uint64]*waiter
}

// waiter is one Append on its way. Whoever takes it out of acks.waiting, and only
// they, sends to ch, once.
type waiter struct {
	id       uint64
	ch       chan answer // of capacity 1
	expected bool        // an answer is in ch, or may come
	timer    *time.Timer // runs during wait
	msg      nats.Msg
	msgID    [1]string
}

// answer is what the log said to one attempt.
type answer struct {
	ack vezechat.Ack
	err error
}

// newAcks subscribes on a connection, which must be the one that is published on.
func newAcks(nc *nats.Conn) (*acks, error) {
	a := &acks{prefix: nc.NewInbox() + ".", pool: sync.Pool{New: newWaiter}, waiting: map[uint64]*waiter{}}
	_, err := nc.Subscribe(a.prefix+"*", a.hear) // ends with the connection
	return a, err
}

func newWaiter() any {
	w := &waiter{ch: make(chan answer, 1), timer: time.NewTimer(time.Hour), msg: nats.Msg{Header: nats.Header{}}}
	w.timer.Stop()
	return w
}

// begin returns a waiter with an id that was never used before: what answers an
// earlier Append can not be taken for an answer to this one.
func (a *acks) begin(e vezechat.Entry) *waiter {
	w, _ := a.pool.Get().(*waiter)
	a.mu.Lock()
	a.last++
	w.id = a.last
	a.mu.Unlock()
	w.msg.Subject, w.msg.Data = e.Subject, e.Payload
	w.msg.Reply = a.prefix + strconv.FormatUint(w.id, 36)
	if e.ID != "" {
		w.msgID[0] = e.ID
		w.msg.Header[jetstream.MsgIDHeader] = w.msgID[:]
	}
	setTrace(w.msg.Header, e.Trace)
	return w
}

// expect makes the next answer w's. One that is late is as good for the attempt
// after it: both carry the same event and ID.
func (a *acks) expect(w *waiter) {
	if w.expected {
		return
	}
	w.expected = true
	a.mu.Lock()
	a.waiting[w.id] = w
	a.mu.Unlock()
}

// wait returns an answer, or ok false when none comes within d or ctx is done.
func (w *waiter) wait(ctx context.Context, d time.Duration) (a answer, ok bool) {
	w.timer.Reset(d)
	defer w.timer.Stop()
	select {
	case a := <-w.ch:
		w.expected = false
		return a, true
	case <-w.timer.C:
	case <-ctx.Done():
	}
	return answer{}, false
}

// end gives a waiter back, to which nobody sends any more.
func (a *acks) end(w *waiter) {
	if w.expected {
		a.forget(w)
	}
	clear(w.msg.Header)
	w.msg = nats.Msg{Header: w.msg.Header}
	w.msgID[0] = ""
	a.pool.Put(w)
}

func (a *acks) forget(w *waiter) {
	a.mu.Lock()
	_, waits := a.waiting[w.id]
	delete(a.waiting, w.id)
	a.mu.Unlock()
	if !waits { // somebody has taken it and has sent, or is about to
		<-w.ch
	}
	w.expected = false
}

// hear takes one answer. Nobody may wait for it any more.
func (a *acks) hear(m *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, a.prefix), 36, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	w := a.waiting[id]
	delete(a.waiting, id)
	a.mu.Unlock()
	if w != nil {
		w.ch <- answerOf(m)
	}
}

func answerOf(m *nats.Msg) answer {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return answer{err: jetstream.ErrNoStreamResponse}
	}
	if ack, ok := parseAck(m.Data); ok {
		return answer{ack: ack}
	}
	var full struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(m.Data, &full); {
	case err != nil:
		return answer{err: jetstream.ErrInvalidJSAck}
	case full.Error != nil:
		return answer{err: fmt.Errorf("nats: %w", full.Error)}
	case full.Stream == "":
		return answer{err: jetstream.ErrInvalidJSAck}
	}
	return answer{ack: vezechat.Ack{Seq: vezechat.Seq(full.Sequence), Duplicate: full.Duplicate}}
}

// How the server writes an acknowledgement (nats-server, stream.pubAck). Anything
// else is read as JSON.
var (
	ackBegin     = []byte(`{"stream":"` + vezechat.StreamChat + `","seq":`)
	ackDuplicate = []byte(`,"duplicate": true}`)
)

func parseAck(b []byte) (ack vezechat.Ack, ok bool) {
	rest, ok := bytes.CutPrefix(b, ackBegin)
	if !ok {
		return ack, false
	}
	digits := 0
	for digits < len(rest) && digits < 19 && rest[digits] >= '0' && rest[digits] <= '9' {
		ack.Seq = ack.Seq*10 + vezechat.Seq(rest[digits]-'0')
		digits++
	}
	rest = rest[digits:]
	ack.Duplicate = bytes.Equal(rest, ackDuplicate)
	return ack, digits > 0 && (ack.Duplicate || len(rest) == 1 && rest[0] == '}')
}
