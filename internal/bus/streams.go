package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
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
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		chat := chatConfig(s)
		chat.Metadata = map[string]string{vezechat.MetaEpoch: newEpoch("")}
		if _, err := b.js.CreateStream(ctx, chat); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("%s: %w", vezechat.StreamChat, err)
		}
	case err != nil:
		return err
	default:
		have := st.CachedInfo().Config
		if s.Replicas == 0 {
			s.Replicas = have.Replicas
		}
		// Servers know no compare-and-set of a stream's configuration: whoever
		// writes undoes what others have written since it read. So a process that
		// starts writes only if it must.
		if want := brought(have, s); !reflect.DeepEqual(want, have) {
			if _, err := b.js.UpdateStream(ctx, want); err != nil {
				return fmt.Errorf("%s: %w", vezechat.StreamChat, err)
			}
		}
	}
	if err := b.setupGames(ctx, max(1, s.Replicas)); err != nil {
		return fmt.Errorf("%s: %w", vezechat.StreamGame, err)
	}
	_, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: vezechat.StreamDLQ, Subjects: []string{vezechat.SubjectDLQ}, Description: "events that a consumer could not digest",
		MaxAge: 14 * 24 * time.Hour, MaxBytes: 256 << 20, MaxMsgSize: 128 << 10, Replicas: max(1, s.Replicas), Duplicates: 2 * time.Minute,
	})
	return err
}

// brought returns the log's configuration in the form wanted. What the hub does
// not decide stays as it is, and a log that is being advanced stays closed.
func brought(have jetstream.StreamConfig, s Streams) jetstream.StreamConfig {
	want, form := have, chatConfig(s)
	want.Description, want.Retention, want.Discard, want.Storage = form.Description, form.Retention, form.Discard, form.Storage
	want.Replicas, want.MaxAge, want.MaxBytes = form.Replicas, form.MaxAge, form.MaxBytes
	want.MaxMsgs, want.MaxMsgsPerSubject, want.MaxMsgSize = form.MaxMsgs, form.MaxMsgsPerSubject, form.MaxMsgSize
	want.Duplicates, want.AllowDirect, want.RePublish = form.Duplicates, form.AllowDirect, form.RePublish
	if have.Metadata[metaClosed] == "" {
		want.Subjects = form.Subjects
	}
	if have.Metadata[vezechat.MetaEpoch] == "" {
		want.Metadata = withMeta(have.Metadata, vezechat.MetaEpoch, newEpoch(""))
	}
	return want
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
		Subjects:  logSubjects(),
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		Replicas: max(1, s.Replicas), MaxAge: maxAge, MaxBytes: maxBytes, MaxMsgs: -1, MaxMsgsPerSubject: -1,
		MaxMsgSize: vezechat.MaxPayload + 4<<10, // headers count too
		Duplicates: 2 * time.Minute, AllowDirect: true,
		RePublish: &jetstream.RePublish{Source: vezechat.RepublishSource, Destination: vezechat.RepublishDestination},
	}
}

func logSubjects() []string {
	return []string{vezechat.SubjectRooms, vezechat.SubjectTickets, vezechat.SubjectAgents}
}

// withMeta returns metadata with a key set, or without it when the value is empty.
func withMeta(m map[string]string, key, value string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	out[key] = value
	if value == "" {
		delete(out, key)
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

// Has reports whether the log has events of a subject, by its leader's word.
func (b *Bus) Has(ctx context.Context, subject string) (bool, error) {
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return false, unavailable(err, "the log does not answer")
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return false, unavailable(err, "the log does not answer")
	}
	return info.State.Subjects[subject] > 0, nil
}

func stateOf(i *jetstream.StreamInfo) vezechat.LogState {
	return vezechat.LogState{
		Epoch: i.Config.Metadata[vezechat.MetaEpoch],
		First: vezechat.Seq(i.State.FirstSeq), Last: vezechat.Seq(i.State.LastSeq),
		FirstAt: i.State.FirstTime, LastAt: i.State.LastTime,
		Bytes: i.State.Bytes, MaxBytes: uint64(max(0, i.Config.MaxBytes)), MaxAge: i.Config.MaxAge,
	}
}
