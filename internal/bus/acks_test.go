package bus

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

func TestAnswerOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		data string
		ack  vezechat.Ack
		err  error
	}{
		{name: "as the server writes it", data: `{"stream":"CHAT","seq":442}`, ack: vezechat.Ack{Seq: 442}},
		{name: "a duplicate", data: `{"stream":"CHAT","seq":7,"duplicate": true}`, ack: vezechat.Ack{Seq: 7, Duplicate: true}},
		{name: "written otherwise", data: `{"seq": 9, "stream": "CHAT", "duplicate":true}`, ack: vezechat.Ack{Seq: 9, Duplicate: true}},
		{name: "with a domain", data: `{"stream":"CHAT","domain":"hub","seq":12}`, ack: vezechat.Ack{Seq: 12}},
		{name: "a field more", data: `{"stream":"CHAT","seq":12,"val":"3"}`, ack: vezechat.Ack{Seq: 12}},
		{name: "no number", data: `{"stream":"CHAT","seq":}`, err: jetstream.ErrInvalidJSAck},
		{name: "too many digits", data: `{"stream":"CHAT","seq":99999999999999999999}`, err: jetstream.ErrInvalidJSAck},
		{name: "no stream", data: `{"seq":1}`, err: jetstream.ErrInvalidJSAck},
		{name: "cut off", data: `{"stream":"CHAT","seq":44`, err: jetstream.ErrInvalidJSAck},
		{name: "nothing", data: ``, err: jetstream.ErrInvalidJSAck},
		{name: "refused", data: `{"type":"x","error":{"code":400,"err_code":10054,"description":"too big"},"stream":"CHAT","seq":0}`, err: &jetstream.APIError{Code: 400, ErrorCode: 10054}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := answerOf(&nats.Msg{Data: []byte(tt.data)})
			if a.ack != tt.ack || !errors.Is(a.err, tt.err) {
				t.Fatalf("%+v, %v", a.ack, a.err)
			}
		})
	}
}

func TestAnswerOf_NoStreamListens(t *testing.T) {
	t.Parallel()
	a := answerOf(&nats.Msg{Header: nats.Header{"Status": {"503"}}})
	if !errors.Is(a.err, jetstream.ErrNoStreamResponse) {
		t.Fatalf("err = %v", a.err)
	}
}

// What answers an Append that has ended must not be taken for an answer to the
// next one, which uses the same memory.
func TestAcks_LateAnswerIsNobodys(t *testing.T) {
	t.Parallel()
	a := &acks{prefix: "_INBOX.x.", waiting: map[uint64]*waiter{}}
	a.pool.New = newWaiter
	w := a.begin(vezechat.Entry{Subject: "s", ID: "1"})
	a.expect(w)
	reply := w.msg.Reply
	if len(w.ch) != 0 {
		t.Fatal("an answer before there was one")
	}
	a.end(w)
	w = a.begin(vezechat.Entry{Subject: "s", ID: "2"})
	a.expect(w)
	a.hear(&nats.Msg{Subject: reply, Data: []byte(`{"stream":"CHAT","seq":1}`)})
	if len(w.ch) != 0 { // hear hands over before it returns
		t.Fatalf("took %+v", <-w.ch)
	}
	a.end(w)
}

// An answer that comes after its attempt has ended counts for the next one, and a
// second answer is nobody's.
func TestAcks_LateAnswerServesTheNextAttempt(t *testing.T) {
	t.Parallel()
	a := &acks{prefix: "_INBOX.x.", waiting: map[uint64]*waiter{}}
	a.pool.New = newWaiter
	w := a.begin(vezechat.Entry{Subject: "s", ID: "1"})
	a.expect(w)
	answer := func(data string) { a.hear(&nats.Msg{Subject: w.msg.Reply, Data: []byte(data)}) }
	answer(`{"stream":"CHAT","seq":1}`)
	a.expect(w)
	answer(`{"stream":"CHAT","seq":1,"duplicate": true}`)
	if got, ok := w.wait(t.Context(), time.Minute); !ok || got.ack != (vezechat.Ack{Seq: 1}) {
		t.Fatalf("answer %+v, %v", got, ok)
	}
	a.expect(w)
	answer(`{"stream":"CHAT","seq":1}`)
	a.end(w)
	if len(w.ch) != 0 || len(a.waiting) != 0 {
		t.Fatal("an answer was left for the next Append")
	}
}
