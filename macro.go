package vezechat

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Identifiers of what the desk saves; they are assigned by PostgreSQL.
type (
	// ViewID identifies a view.
	ViewID int64
	// MacroID identifies a macro.
	MacroID int64
)

// Limits of views and macros.
const (
	MaxViews     = 50  // of one person, and of everybody's
	MaxMacros    = 200 // likewise
	MaxFields    = 50
	MaxOptions   = 100 // of a choice
	MaxFieldText = 1000
	CountUpTo    = 1000 // where counting a view's tickets stops
)

// TicketView is a filter with a name.
type TicketView struct {
	ID       ViewID       `json:"id"`
	Name     string       `json:"name"`
	Owner    UserID       `json:"owner_id,omitempty"` // 0: it is everybody's
	Filter   TicketFilter `json:"filter"`
	Position int          `json:"position"`
	Count    int          `json:"count"` // at most CountUpTo
}

// PutTicketView makes or changes a view: one's own, or everybody's with chat.admin.
type PutTicketView struct {
	Caller Caller     `json:"caller"`
	View   TicketView `json:"view"`
	Key    string     `json:"key,omitempty"` // idempotency key of the caller, for making one
}

// ViewRef names a view.
type ViewRef struct {
	Caller Caller `json:"caller"`
	ID     ViewID `json:"id"`
}

// ActionDo is something done to a ticket.
type ActionDo string

// What macros and bulk changes do.
const (
	DoMove     ActionDo = "move"     // Move
	DoPriority ActionDo = "priority" // Priority
	DoQueue    ActionDo = "queue"    // Queue; 0: none
	DoAssign   ActionDo = "assign"   // User; 0: nobody
	DoTake     ActionDo = "take"     // assign to whoever does it
	DoTag      ActionDo = "tag"      // Tag
	DoUntag    ActionDo = "untag"    // Tag
	DoField    ActionDo = "field"    // Key, Value
)

// TicketAction is something done to a ticket, with what it needs.
type TicketAction struct {
	Do       ActionDo   `json:"do"`
	Move     Move       `json:"move,omitempty"`
	Priority Priority   `json:"priority,omitempty"`
	Queue    QueueID    `json:"queue_id,omitempty"`
	User     UserID     `json:"user_id,omitempty"`
	Tag      string     `json:"tag,omitempty"`
	Key      string     `json:"key,omitempty"`
	Value    CustomJSON `json:"value,omitempty"`
}

// MarshalJSON has an action say what it needs also when that is nobody or none, so that
// what was answered can be sent again.
func (a TicketAction) MarshalJSON() ([]byte, error) {
	type plain TicketAction
	v := struct {
		plain
		User  *UserID  `json:"user_id,omitempty"`
		Queue *QueueID `json:"queue_id,omitempty"`
	}{plain: plain(a)}
	if a.Do == DoAssign || a.User != 0 {
		v.User = &a.User
	}
	if a.Do == DoQueue || a.Queue != 0 {
		v.Queue = &a.Queue
	}
	return json.Marshal(v)
}

// Validate returns nil when the action makes sense, else CodeBadRequest with what
// does not.
func (a *TicketAction) Validate() error {
	switch a.Do {
	case DoMove:
		if !a.Move.Chosen() {
			return Errorf(CodeBadRequest, "actions: %q is no move that a person makes", Clip(string(a.Move), 32))
		}
	case DoPriority:
		if !a.Priority.Valid() {
			return Errorf(CodeBadRequest, "actions: unknown priority %q", Clip(string(a.Priority), 32))
		}
	case DoTag, DoUntag:
		if _, err := CheckTags([]string{a.Tag}); err != nil {
			return err
		}
	case DoField:
		if a.Key == "" || !json.Valid(a.Value) || len(a.Value) > MaxCustom {
			return Errorf(CodeBadRequest, "actions: field needs key and value")
		}
	case DoQueue, DoAssign, DoTake:
		if a.Queue < 0 || a.User < 0 {
			return Errorf(CodeBadRequest, "actions: %s: not an id", a.Do)
		}
	default:
		return Errorf(CodeBadRequest, "actions: unknown action %q", Clip(string(a.Do), 32))
	}
	return nil
}

// Chosen reports whether a person makes the move, by saying so; the others follow
// from something else.
func (m Move) Chosen() bool {
	switch m {
	case MoveWait, MoveHold, MoveResume, MoveSolve, MoveReopen, MoveSpam:
		return true
	}
	return false
}

// CheckActions returns nil when there is something to do and all of it makes sense.
func CheckActions(list []TicketAction) error {
	if len(list) > MaxActions {
		return Errorf(CodeBadRequest, "actions: at most %d", MaxActions)
	}
	for i := range list {
		if err := list[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Macro is a canned reply, some actions, or both.
type Macro struct {
	ID      MacroID        `json:"id"`
	Name    string         `json:"name"`
	Owner   UserID         `json:"owner_id,omitempty"` // 0: not one person's
	Queue   QueueID        `json:"queue_id,omitempty"` // for the agents of a queue only
	Text    string         `json:"text,omitempty"`     // with placeholders, see FillIn
	Actions []TicketAction `json:"actions,omitempty"`
	Used    int            `json:"used"`
}

// Validate returns nil when the macro makes sense, else CodeBadRequest or
// CodeTooLarge.
func (m *Macro) Validate() error {
	if err := checkDeskName("macro", m.Name); err != nil {
		return err
	}
	if utf8.RuneCountInString(m.Text) > MaxText || !utf8.ValidString(m.Text) || strings.ContainsRune(m.Text, 0) {
		return Errorf(CodeTooLarge, "text: at most %d characters", MaxText)
	}
	if strings.TrimSpace(m.Text) == "" && len(m.Actions) == 0 {
		return Errorf(CodeBadRequest, "a macro has a text, or does something")
	}
	if err := checkPlaceholders(m.Text); err != nil {
		return err
	}
	return CheckActions(m.Actions)
}

// PutMacro makes or changes a macro: one's own, or any other with chat.admin.
type PutMacro struct {
	Caller Caller `json:"caller"`
	Macro  Macro  `json:"macro"`
	Key    string `json:"key,omitempty"` // idempotency key of the caller, for making one
}

// MacroRef names a macro.
type MacroRef struct {
	Caller Caller  `json:"caller"`
	ID     MacroID `json:"id"`
}

// ApplyMacro uses a macro on a ticket.
type ApplyMacro struct {
	TicketRef
	Macro MacroID `json:"macro_id"`
}

// Applied is what a macro has done, and what it would say.
type Applied struct {
	Ticket Ticket `json:"ticket"`
	Text   string `json:"text,omitempty"`
}

// placeholders are what canned replies may have.
var placeholders = [...]string{"{{requester.handle}}", "{{agent.handle}}", "{{ticket.id}}", "{{ticket.subject}}"}

var placeholder = regexp.MustCompile(`\{\{[^{}\n]*\}\}`)

// checkPlaceholders returns nil when FillIn fills in all that a text has in double braces.
func checkPlaceholders(text string) error {
	for _, p := range placeholder.FindAllString(text, -1) {
		if !slices.Contains(placeholders[:], p) {
			return Errorf(CodeBadRequest, "text: unknown placeholder %s: want %s", Clip(p, 64), strings.Join(placeholders[:], ", "))
		}
	}
	return nil
}

// FillIn returns a canned reply with its placeholders filled in:
// {{requester.handle}}, {{agent.handle}}, {{ticket.id}}, {{ticket.subject}}. What
// is put in is not looked at again, and what is no placeholder stays as it is.
func FillIn(text string, t *Ticket, agent string) string {
	return strings.NewReplacer(
		placeholders[0], t.RequesterHandle, placeholders[1], agent, placeholders[2], t.ID.String(), placeholders[3], t.Subject,
	).Replace(text)
}

// FieldType is what a ticket field holds.
type FieldType string

// The types of fields.
const (
	FieldText   FieldType = "text"
	FieldNumber FieldType = "number"
	FieldBool   FieldType = "bool"
	FieldDate   FieldType = "date" // "2026-11-23"
	FieldChoice FieldType = "choice"
)

// TicketField is something that tickets may have besides what every ticket has.
type TicketField struct {
	Key      string    `json:"key"`
	Name     string    `json:"name"`
	Type     FieldType `json:"type"`
	Options  []string  `json:"options,omitempty"`  // of a choice
	Required bool      `json:"required,omitempty"` // for the desk to solve a ticket
}

// PutTicketField makes or changes a field.
type PutTicketField struct {
	Caller Caller      `json:"caller"`
	Field  TicketField `json:"field"`
}

// Validate returns nil when the field makes sense, else CodeBadRequest.
func (f *TicketField) Validate() error {
	if len(f.Key) == 0 || len(f.Key) > 40 || strings.ContainsFunc(f.Key, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_') }) {
		return Errorf(CodeBadRequest, "key: up to 40 of a-z, 0-9 and '_'")
	}
	if err := checkDeskName("field", f.Name); err != nil {
		return err
	}
	switch f.Type {
	case FieldText, FieldNumber, FieldBool, FieldDate:
		if len(f.Options) > 0 {
			return Errorf(CodeBadRequest, "options: of a choice only")
		}
	case FieldChoice:
		if len(f.Options) == 0 || len(f.Options) > MaxOptions {
			return Errorf(CodeBadRequest, "options: 1 to %d", MaxOptions)
		}
	default:
		return Errorf(CodeBadRequest, "type: unknown type %q: want text, number, bool, date or choice", Clip(string(f.Type), 32))
	}
	for i, o := range f.Options {
		if o == "" || utf8.RuneCountInString(o) > 80 || !utf8.ValidString(o) || strings.ContainsRune(o, 0) || slices.Contains(f.Options[:i], o) {
			return Errorf(CodeBadRequest, "options: each of up to 80 characters, and once")
		}
	}
	return nil
}

// Check returns nil when a value is one of the field's, else CodeBadRequest. Null
// is none.
func (f *TicketField) Check(value CustomJSON) error {
	bad := Errorf(CodeBadRequest, "custom: %s is a %s", f.Key, f.Type)
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return bad
	}
	if v == nil {
		return nil
	}
	text, isText := v.(string)
	ok := false
	switch f.Type {
	case FieldText:
		ok = isText && utf8.RuneCountInString(text) <= MaxFieldText && !strings.ContainsRune(text, 0)
	case FieldNumber:
		_, ok = v.(float64)
	case FieldBool:
		_, ok = v.(bool)
	case FieldDate:
		_, err := time.Parse(time.DateOnly, text)
		ok = isText && err == nil
	case FieldChoice:
		ok = isText && slices.Contains(f.Options, text)
	}
	if !ok {
		return bad
	}
	return nil
}
