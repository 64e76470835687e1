package vezechat

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GuardClassifier is the name of the guard that asks a service what a text says.
const GuardClassifier = "classifier"

// ClassifierMode says when the messages of a kind of rooms are classified.
type ClassifierMode string

// The modes. A kind without one is not classified.
const (
	// ClassifyAfter: a message is said at once, and hidden when the service finds
	// something. While the service is away everything is said (fail-open).
	ClassifyAfter ClassifierMode = "after"

	// ClassifyBefore: a message is held until the service has judged it, for
	// MaxJudgeWait at most; then it waits for a moderator (fail-closed).
	ClassifyBefore ClassifierMode = "before"
)

// Valid reports whether m is one of the modes.
func (m ClassifierMode) Valid() bool { return m == ClassifyAfter || m == ClassifyBefore }

// Bounds of the classifier.
const (
	MaxClassifierContext = 20 // messages before the one that is judged
	MaxClassifierLabels  = 64 // of the rules, and of an answer
	MaxContextText       = 1000
	MaxJudgeWait         = time.Minute // for which a message is held for the classifier
	MaxUnjudged          = 64          // held messages of one answer
)

// ClassifierRules say what is classified, and what follows from the scores. They are
// a part of GuardRules.
type ClassifierRules struct {
	Context int                         `json:"context"`          // messages before the one that is judged, 0 to MaxClassifierContext
	Labels  map[string]LabelThresholds  `json:"labels,omitempty"` // what is not named here is ignored
	Rooms   map[RoomKind]ClassifierMode `json:"rooms,omitempty"`  // of a kind that is not named nothing is sent
}

// LabelThresholds are the scores from which on something follows, above 0 to 1; 0:
// never. Of several that are reached the last counts.
type LabelThresholds struct {
	Flag float64 `json:"flag,omitempty"` // moderators are told
	Hold float64 `json:"hold,omitempty"` // it is hidden until a moderator has looked; what waits to be said stays held
	Hide float64 `json:"hide,omitempty"` // it is hidden; what waits to be said is rejected
}

// LabelScore is how surely a text is of a kind, from 0 to 1.
type LabelScore struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// DefaultClassifier are the rules where none are kept: rooms of many people, and
// neither direct messages nor tickets.
func DefaultClassifier() ClassifierRules {
	return ClassifierRules{
		Context: 5,
		Labels: map[string]LabelThresholds{
			"toxic": {Flag: 0.8, Hide: 0.95}, "hate": {Flag: 0.7, Hide: 0.9}, "threat": {Flag: 0.7, Hide: 0.9},
			"sexual": {Flag: 0.8, Hide: 0.95}, "insult": {Flag: 0.9},
		},
		Rooms: map[RoomKind]ClassifierMode{KindGlobal: ClassifyAfter, KindGuild: ClassifyAfter, KindParty: ClassifyAfter},
	}
}

// Classify returns the classifier's rules: those that are kept, or DefaultClassifier.
func (r GuardRules) Classify() ClassifierRules {
	if r.Classifier == nil {
		return DefaultClassifier()
	}
	return *r.Classifier
}

// Judge returns what follows from scores: VerdictAllow, VerdictFlag, VerdictHold, or
// VerdictBlock for what is hidden; and a finding for each label that led to it.
func (r ClassifierRules) Judge(scores []LabelScore) Judgement {
	j := Judgement{Verdict: VerdictAllow}
	for _, s := range scores {
		t, ok := r.Labels[s.Label]
		if v := t.of(s.Score); ok && v != VerdictAllow {
			reason := "scored " + strconv.FormatFloat(s.Score, 'f', 2, 64)
			j.Findings = append(j.Findings, Finding{Guard: GuardClassifier, Label: s.Label, Reason: reason, Verdict: v})
			j.Verdict = j.Verdict.Heavier(v)
		}
	}
	slices.SortStableFunc(j.Findings, func(a, b Finding) int { return b.Verdict.Weight() - a.Verdict.Weight() })
	return j
}

func (t LabelThresholds) of(score float64) GuardVerdict {
	switch {
	case t.Hide > 0 && score >= t.Hide:
		return VerdictBlock
	case t.Hold > 0 && score >= t.Hold:
		return VerdictHold
	case t.Flag > 0 && score >= t.Flag:
		return VerdictFlag
	}
	return VerdictAllow
}

// ClassifierReason is what a hidden message's event says of why: label and score.
func ClassifierReason(j Judgement) string {
	var b strings.Builder
	for _, f := range j.Findings {
		if f.Verdict != j.Verdict || b.Len() > MaxModReason/2 {
			break
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.Label + " " + f.Reason)
	}
	return b.String()
}

func (r ClassifierRules) validate() error {
	switch {
	case r.Context < 0 || r.Context > MaxClassifierContext:
		return Errorf(CodeBadRequest, "classifier.context: 0 to %d messages", MaxClassifierContext)
	case len(r.Labels) > MaxClassifierLabels:
		return Errorf(CodeTooLarge, "classifier.labels: at most %d", MaxClassifierLabels)
	}
	for label, t := range r.Labels {
		if !ValidLabel(label) {
			return Errorf(CodeBadRequest, "classifier.labels: %q is none: 1 to 32 lower-case letters, digits, - and _", Clip(label, 40))
		}
		for _, s := range []float64{t.Flag, t.Hold, t.Hide} {
			if !(s >= 0 && s <= 1) { // NaN is neither
				return Errorf(CodeBadRequest, "classifier.labels.%s: scores are 0 to 1", label)
			}
		}
	}
	for kind, m := range r.Rooms {
		if !kind.Valid() {
			return Errorf(CodeBadRequest, "classifier.rooms: %q is no kind of rooms", Clip(string(kind), 32))
		}
		if !m.Valid() {
			return Errorf(CodeBadRequest, "classifier.rooms.%s: want %s or %s", kind, ClassifyAfter, ClassifyBefore)
		}
		if m == ClassifyBefore && (kind == KindDM || kind == KindSupport) {
			return Errorf(CodeBadRequest, "classifier.rooms.%s: neither direct messages nor tickets are held for the classifier", kind)
		}
	}
	return nil
}

// ValidLabel reports whether s may be a classifier's label: 1 to 32 lower-case ASCII
// letters, digits, - and _.
func ValidLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// Classifiable reports whether an event says something that is classified: a message
// or an edit of one, not the lines that the hub writes for game servers.
func (e *Event) Classifiable() bool {
	if e.Type != EventMessageCreated && e.Type != EventMessageEdited {
		return false
	}
	return !slices.ContainsFunc(e.Flags, func(f string) bool { return f == FlagKillfeed || f == FlagSay || f == FlagNotice || f == FlagTrend })
}

// ContextQuery asks for a message as it is now, and what was said before it.
type ContextQuery struct {
	RoomID    RoomID    `json:"room_id"`
	MessageID MessageID `json:"message_id"`
	Seq       Seq       `json:"seq"`              // of the event that is judged: storage has to have it
	Before    int       `json:"before,omitempty"` // messages, at most MaxClassifierContext
}

// MessageContext is a message and what was said before it, the newest last. Of what is
// before, hidden and deleted messages are left out, and texts are cut to MaxContextText
// characters.
type MessageContext struct {
	RoomKind RoomKind      `json:"room_kind"`
	Message  CaseMessage   `json:"message"`
	State    string        `json:"state"`              // visible, hidden or deleted
	Decided  *time.Time    `json:"decided,omitempty"`  // when somebody hid or restored it last
	Approved bool          `json:"approved,omitempty"` // it was held, and let through
	Findings []Finding     `json:"findings,omitempty"` // what the guards found in it, if the classifier did that
	Before   []CaseMessage `json:"before,omitempty"`
}

// ClassifierService is what the classifier asks storage for. It asks nobody who they
// are. Implementations are safe for concurrent use.
type ClassifierService interface {
	// Context returns a message and what was said before it. CodeNotFound: there is
	// none. CodeUnavailable: storage has not stored the event yet, or is away.
	Context(ctx context.Context, q ContextQuery) (MessageContext, error)

	// Unjudged returns the oldest held messages that wait for the classifier, in
	// their order, at most MaxUnjudged, each with before messages said before it.
	Unjudged(ctx context.Context, before int) ([]Unjudged, error)

	// Judge decides about a held message that waits for the classifier: it is said
	// (VerdictAllow, VerdictFlag), waits for a moderator (VerdictHold), or is rejected
	// (VerdictBlock). What was decided already stays so. CodeConflict: one of its room
	// that was held before it has yet to be judged. CodeNotFound: there is none.
	Judge(ctx context.Context, j HeldJudgement) error
}

// Unjudged is a held message that waits for the classifier.
type Unjudged struct {
	HeldID int64  `json:"held_id"`
	RoomID RoomID `json:"room_id"`
	MessageContext
}

// HeldJudgement is what the classifier says of a held message.
type HeldJudgement struct {
	HeldID   int64        `json:"held_id"`
	Verdict  GuardVerdict `json:"verdict"`
	Findings []Finding    `json:"findings,omitempty"`
	Reason   string       `json:"reason,omitempty"`
}

// RoomQueue hands the log's events of rooms to workers. Implementations are safe for
// concurrent use.
type RoomQueue interface {
	// Take calls fn for each event of a room that was appended since a queue of that
	// name was used first, at most atOnce side by side, until ctx is done; it then
	// returns nil. What fn has returned nil for is not handed out again; all else is,
	// also after this process was killed, in whatever order. Several processes share
	// a queue. A queue that nobody has used for three days is forgotten.
	Take(ctx context.Context, name string, atOnce int, fn func(context.Context, Record) error) error

	// Waiting returns how many events of a queue are not done.
	Waiting(ctx context.Context, name string) (uint64, error)
}
