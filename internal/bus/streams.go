package bus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

// Streams says how large the log may grow, and on how many nodes it lives.
type Streams struct {
	Replicas int           // 1, or 3 in a cluster; 0 leaves what is there, and makes 1
	MaxAge   time.Duration // 0 is 48 h: PostgreSQL is the history
	MaxBytes int64         // 0 is 2 GiB
}

// metaAdvanced is the metadata key that says which sequences were never handed
// out: "<last before>-<first after>".
const metaAdvanced = "veze.advanced"

// Setup creates the streams or brings them to this form, keeping the epoch of a
// log that is there. Several processes may call it at once. It is repeated until
// the servers answer or ctx ends: a cluster that has just started needs seconds
// to elect a leader.
func (b *Bus) Setup(ctx context.Context, s Streams) error {
	var err error
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if err = b.setup(ctx, s); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("set up streams: %w", errors.Join(ctx.Err(), err))
		case <-time.After(wait):
		}
	}
}

func (b *Bus) setup(ctx context.Context, s Streams) error {
	chat := chatConfig(s)
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		chat.Metadata = map[string]string{vezechat.MetaEpoch: newEpoch()}
		if _, err := b.js.CreateStream(ctx, chat); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("%s: %w", vezechat.StreamChat, err)
		}
	case err != nil:
		return err
	default:
		chat.Metadata = st.CachedInfo().Config.Metadata
		if s.Replicas == 0 {
			s.Replicas = st.CachedInfo().Config.Replicas
			chat.Replicas = s.Replicas
		}
		if chat.Metadata[vezechat.MetaEpoch] == "" {
			chat.Metadata = withMeta(chat.Metadata, vezechat.MetaEpoch, newEpoch())
		}
		if _, err := b.js.UpdateStream(ctx, chat); err != nil {
			return fmt.Errorf("%s: %w", vezechat.StreamChat, err)
		}
	}
	_, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: vezechat.StreamDLQ, Subjects: []string{vezechat.SubjectDLQ}, Description: "events that a consumer could not digest",
		MaxAge: 14 * 24 * time.Hour, MaxBytes: 256 << 20, MaxMsgSize: 128 << 10, Replicas: max(1, s.Replicas), Duplicates: 2 * time.Minute,
	})
	return err
}

func chatConfig(s Streams) jetstream.StreamConfig {
	maxAge, maxBytes := s.MaxAge, s.MaxBytes
	if maxAge == 0 {
		maxAge = 48 * time.Hour
	}
	if maxBytes == 0 {
		maxBytes = 2 << 30
	}
	return jetstream.StreamConfig{
		Name: vezechat.StreamChat, Description: "the canonical event log; sequence = message_id",
		Subjects:  []string{vezechat.SubjectRooms, vezechat.SubjectTickets},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		Replicas: max(1, s.Replicas), MaxAge: maxAge, MaxBytes: maxBytes, MaxMsgs: -1, MaxMsgsPerSubject: -1,
		MaxMsgSize: vezechat.MaxPayload + 4<<10, // headers count too
		Duplicates: 2 * time.Minute, AllowDirect: true,
		RePublish: &jetstream.RePublish{Source: vezechat.RepublishSource, Destination: vezechat.RepublishDestination},
	}
}

func newEpoch() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func withMeta(m map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// State tells where the log begins and ends.
func (b *Bus) State(ctx context.Context) (vezechat.LogState, error) {
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return vezechat.LogState{}, unavailable(err, "the log does not answer")
	}
	return stateOf(st.CachedInfo()), nil
}

func stateOf(i *jetstream.StreamInfo) vezechat.LogState {
	return vezechat.LogState{
		Epoch: i.Config.Metadata[vezechat.MetaEpoch],
		First: vezechat.Seq(i.State.FirstSeq), Last: vezechat.Seq(i.State.LastSeq),
		FirstAt: i.State.FirstTime, LastAt: i.State.LastTime,
		Bytes: i.State.Bytes, MaxBytes: uint64(max(0, i.Config.MaxBytes)), MaxAge: i.Config.MaxAge,
	}
}

// advanceBy is how far Advance jumps: more than any log could have handed out
// between its last fsync and a power loss.
const advanceBy = 1_000_000

// Advance makes the log hand out sequences well above a position from now on, and
// starts a new epoch, which makes every cursor of the old one void. It empties
// the log: call it only when a sink has stored everything up to above and the log
// ends below it, because it lost its tail.
func (b *Bus) Advance(ctx context.Context, above vezechat.Seq) (epoch string, err error) {
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return "", unavailable(err, "the log does not answer")
	}
	info := st.CachedInfo()
	first := max(uint64(above), info.State.LastSeq) + advanceBy
	cfg := info.Config
	epoch = newEpoch()
	cfg.Metadata = withMeta(cfg.Metadata, vezechat.MetaEpoch, epoch)
	cfg.Metadata = withMeta(cfg.Metadata, metaAdvanced, fmt.Sprintf("%d-%d", above, first))
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		return "", unavailable(err, "the log cannot be advanced")
	}
	if err := st.Purge(ctx, jetstream.WithPurgeSequence(first)); err != nil {
		return "", unavailable(err, "the log cannot be advanced")
	}
	return epoch, nil
}

// skipAdvanced moves a position over sequences that Advance never handed out.
func skipAdvanced(meta map[string]string, after uint64) uint64 {
	from, to, ok := strings.Cut(meta[metaAdvanced], "-")
	if !ok {
		return after
	}
	last, err1 := strconv.ParseUint(from, 10, 64)
	first, err2 := strconv.ParseUint(to, 10, 64)
	if err1 != nil || err2 != nil || after < last || after >= first {
		return after
	}
	return first - 1
}
