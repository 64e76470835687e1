package vezechat

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Log is the canonical event log. Implementations are safe for concurrent use.
type Log interface {
	// Append adds one event. When it returns nil the event is kept: it will reach
	// every sink once, in the order of the returned sequences. Appending an entry
	// with the ID of an earlier one (within two minutes) adds nothing and returns
	// the earlier one's place with Duplicate set.
	// CodeTooLarge: the payload is over 64 KiB. CodeUnavailable: the log did not
	// acknowledge in time; the entry may or may not have been added, and should be
	// appended again with the same ID.
	Append(ctx context.Context, e Entry) (Ack, error)
}

// Entry is an event on its way into the log.
type Entry struct {
	Subject string // RoomSubject, TicketSubject or AgentSubject
	ID      string // makes a repeated append harmless; unique over the whole log
	Payload []byte // the canonical event without its ids
	Trace   Trace  // travels in headers
}

// Ack is the log's answer.
type Ack struct {
	Seq       Seq
	Duplicate bool
}

// Record is an event as the log keeps it.
type Record struct {
	Subject string
	Seq     Seq
	ID      string // the Entry's ID, empty if it had none
	Payload []byte // the canonical event without its ids
	Trace   Trace
}

// Trace ties an event to the request that caused it: W3C trace context and the
// X-QNet-* headers of that request, header names in canonical form.
type Trace struct {
	Traceparent string            `json:"traceparent,omitempty"`
	Tracestate  string            `json:"tracestate,omitempty"` // of others on the way (W3C Trace Context §3.3); none without Traceparent
	QNet        map[string]string `json:"qnet,omitempty"`
}

// Bounds of a Trace. MaxTracestate is what every part of a way passes on (W3C Trace
// Context §3.3.1.5).
const (
	MaxTracestate = 512 // bytes
	MaxQNet       = 16  // headers
	MaxQNetName   = 64  // bytes
	MaxQNetValue  = 256 // bytes
)

// PrefixQNet begins the names of X-QNet-* headers, in canonical form.
const PrefixQNet = "X-Qnet-"

// Clean leaves out of a trace what is malformed or out of bounds: it counts as not there
// (W3C Trace Context §3.2.2.2). The names of headers come in canonical form.
func (t Trace) Clean() (out Trace) {
	if validTraceparent(t.Traceparent) {
		out.Traceparent = t.Traceparent
		if len(t.Tracestate) <= MaxTracestate && printable(t.Tracestate) {
			out.Tracestate = t.Tracestate
		}
	}
	for _, k := range slices.Sorted(maps.Keys(t.QNet)) {
		name, v := textproto.CanonicalMIMEHeaderKey(k), t.QNet[k]
		if len(out.QNet) == MaxQNet || !validQNetName(name) || len(v) > MaxQNetValue || !printable(v) {
			continue
		}
		if out.QNet == nil {
			out.QNet = map[string]string{}
		}
		out.QNet[name] = v
	}
	return out
}

func validQNetName(s string) bool {
	return strings.HasPrefix(s, PrefixQNet) && len(s) > len(PrefixQNet) && len(s) <= MaxQNetName && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~", r)
	})
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F })
}

// validTraceparent checks the form of version 00 (W3C Trace Context §3.2).
func validTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i, c := range s {
		if i != 2 && i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s[3:35] != strings.Repeat("0", 32) && s[36:52] != strings.Repeat("0", 16)
}

// Empty reports whether there is nothing to carry.
func (t Trace) Empty() bool { return t.Traceparent == "" && len(t.QNet) == 0 }

// Headers are the trace as headers of a request to another service, or of a NATS
// message, names in canonical form.
func (t Trace) Headers() map[string][]string {
	h := map[string][]string{}
	if t.Traceparent != "" {
		h["Traceparent"] = []string{t.Traceparent}
		if t.Tracestate != "" {
			h["Tracestate"] = []string{t.Tracestate}
		}
	}
	for k, v := range t.QNet {
		h[k] = []string{v}
	}
	return h
}

// LogReader reads the log for a sink that keeps its own position. Implementations
// are safe for concurrent use.
type LogReader interface {
	// Read calls fn with runs of records, in the log's order and without holes,
	// beginning with the first one above after, until ctx is done (it then returns
	// nil) or fn fails (it then returns fn's error). A run has 1 to max records;
	// while the log is quiet fn waits to be called. The records are fn's to keep.
	//
	// A lost connection is not an error: reading goes on where it was. These are:
	// a *GapError when records above after are gone before they were read, a
	// *BehindError when the log ends below after.
	Read(ctx context.Context, after Seq, max int, fn func([]Record) error) error

	// State tells where the log begins and ends.
	State(ctx context.Context) (LogState, error)

	// At returns the record at a place. CodeNotFound: there is none (any more).
	At(ctx context.Context, seq Seq) (Record, error)
}

// LogState is where the log begins and ends, and how much it may hold.
type LogState struct {
	Epoch    string // the log's incarnation: cursors of another one mean nothing
	First    Seq    // of the oldest record kept; Last+1 when there is none
	Last     Seq    // handed out last, 0 when none ever was
	FirstAt  time.Time
	LastAt   time.Time
	Bytes    uint64
	MaxBytes uint64        // 0: no bound
	MaxAge   time.Duration // 0: no bound
}

// GapError says that the log no longer has what a reader had not yet read.
type GapError struct {
	After Seq // the reader's position
	First Seq // the oldest record left
}

// Error says how much is gone.
func (e *GapError) Error() string {
	return fmt.Sprintf("the log begins at %d, records after %d are gone unread", e.First, e.After)
}

// BehindError says that the log ends before a position that a sink has reached:
// it lost its tail, and would hand out sequences a second time.
type BehindError struct {
	After Seq // the sink's position
	Last  Seq // the log's end
}

// Error says how much was lost.
func (e *BehindError) Error() string {
	return fmt.Sprintf("the log ends at %d, before %d, which was stored already", e.Last, e.After)
}

// Position is how far a sink has got in the log.
type Position struct {
	Epoch string // the log's incarnation, empty when the sink has seen none yet
	Seq   Seq    // everything up to here is stored
	ID    string // of the record at Seq, empty when it had none or is not known
}

// StaleError says that a sink's position is not what its writer believed:
// somebody else moved it. The writer reads it again and starts from there.
type StaleError struct {
	Want Seq // what the writer believed
	Have Seq // what is stored
}

// Error says both positions.
func (e *StaleError) Error() string {
	return fmt.Sprintf("the stored position is %d, not %d", e.Have, e.Want)
}

// PoisonError says that one record can never be stored, whatever is tried.
type PoisonError struct {
	Seq Seq
	Err error // why
}

// Error names the record and the reason.
func (e *PoisonError) Error() string {
	return fmt.Sprintf("record %d cannot be stored: %v", e.Seq, e.Err)
}

// Unwrap returns the reason.
func (e *PoisonError) Unwrap() error { return e.Err }

// ForkError says that a place of the log is stored with another record than the
// log has there now: the two have different pasts. A writer stops at it.
type ForkError struct {
	Seq    Seq
	Stored string // the ID of the stored record
	Log    string // the ID of the log's record
}

// Error names the place and both records.
func (e *ForkError) Error() string {
	return fmt.Sprintf("record %d is stored as %q, the log has %q there", e.Seq, Clip(e.Stored, 80), Clip(e.Log, 80))
}

// DeadLetter is what stream DLQ keeps of a record that a consumer could not digest.
type DeadLetter struct {
	Subject string `json:"subject"`
	Seq     Seq    `json:"seq"`
	ID      string `json:"id,omitempty"`
	Reason  string `json:"reason"`
	Size    int    `json:"size"`              // of the payload
	Payload []byte `json:"payload,omitempty"` // in base64; its beginning when it is too long for the log
}

// Bury returns the entry that puts a record among a consumer's dead letters. The
// same record twice is one letter, within the log's two minutes.
func Bury(consumer string, r Record, reason error) (Entry, error) {
	l := DeadLetter{Subject: r.Subject, Seq: r.Seq, ID: r.ID, Reason: Clip(reason.Error(), 1000), Size: len(r.Payload)}
	l.Payload = r.Payload[:min(len(r.Payload), MaxPayload/2)]
	body, err := json.Marshal(l)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Subject: DLQSubject(consumer, r.Subject), ID: consumer + "-" + r.Seq.String(), Payload: body, Trace: r.Trace}, nil
}

// StorageBeat is what a storage role tells each second.
type StorageBeat struct {
	Epoch       string        `json:"epoch"`
	Stored      Seq           `json:"stored"`       // storage has the whole log up to here
	Last        Seq           `json:"last"`         // the log's end
	Lag         time.Duration `json:"lag"`          // age of the oldest record not stored yet, in nanoseconds
	LagFraction float64       `json:"lag_fraction"` // of what the log can hold before it forgets unread records
}

// OutboxEntry is an event that a command has decided and that waits for its way
// into the log.
type OutboxEntry struct {
	Entry
	Key int64         // orders the entries of one room
	Age time.Duration // since the command
}
