package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// REST is the hub's HTTP side, as one user.
type REST struct {
	URL    string
	Token  string
	Client *http.Client // nil: one with a deadline of 15 s
}

const maxBody = 8 << 20

// CreateRoom makes a room. CodeConflict: the name is taken.
func (r REST) CreateRoom(ctx context.Context, name string, kind vezechat.RoomKind) (vezechat.Room, error) {
	var room vezechat.Room
	err := r.Do(ctx, http.MethodPost, "/rooms", map[string]any{"name": name, "kind": kind}, &room)
	return room, err
}

// Room returns a room by its id or name. CodeNotFound: none that the user may see.
func (r REST) Room(ctx context.Context, ref string) (vezechat.RoomID, error) {
	if id, err := vezechat.ParseRoomID(ref); err == nil {
		return id, nil
	}
	for after := vezechat.RoomID(0); ; {
		var page json.RawMessage
		q := url.Values{"limit": {strconv.Itoa(vezechat.MaxPage)}}
		if after > 0 {
			q.Set("after", after.String())
		}
		if err := r.Do(ctx, http.MethodGet, "/rooms?"+q.Encode(), nil, &page); err != nil {
			return 0, err
		}
		rooms, err := roomsOf(page)
		if err != nil {
			return 0, err
		}
		for _, room := range rooms {
			if strings.EqualFold(room.Name, ref) {
				return room.ID, nil
			}
			after = max(after, room.ID)
		}
		if len(rooms) < vezechat.MaxPage {
			return 0, vezechat.Errorf(vezechat.CodeNotFound, "no room %q", vezechat.Clip(ref, 80))
		}
	}
}

// roomsOf reads a list of rooms, bare or as the field rooms of an object.
func roomsOf(b json.RawMessage) ([]vezechat.Room, error) {
	var rooms []vezechat.Room
	if len(b) > 0 && b[0] == '[' {
		return rooms, json.Unmarshal(b, &rooms)
	}
	var o struct {
		Rooms []vezechat.Room `json:"rooms"`
	}
	err := json.Unmarshal(b, &o)
	return o.Rooms, err
}

// Send posts a message.
func (r REST) Send(ctx context.Context, room vezechat.RoomID, text, nonce string) (vezechat.MessageID, error) {
	var out struct {
		ID vezechat.MessageID `json:"id"`
	}
	err := r.Do(ctx, http.MethodPost, "/rooms/"+room.String()+"/messages", map[string]any{"text": text, "nonce": nonce}, &out)
	return out.ID, err
}

// Do makes one call. Errors are the hub's own.
func (r REST) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.URL, "/")+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	resp, err := r.client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return problemOf(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(out); err != nil {
		return fmt.Errorf("%s %s: unreadable answer: %w", method, path, err)
	}
	return nil
}

func (r REST) client() *http.Client {
	if r.Client != nil {
		return r.Client
	}
	return &http.Client{Timeout: 15 * time.Second}
}

// problemOf reads application/problem+json (RFC 9457).
func problemOf(resp *http.Response) error {
	var p struct {
		Code   vezechat.Code `json:"code"`
		Detail string        `json:"detail"`
		Title  string        `json:"title"`
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(b, &p) != nil || p.Code == "" {
		p.Code, p.Detail = codeOf(resp.StatusCode), resp.Status
	}
	e := vezechat.Errorf(p.Code, "%s", first(p.Detail, p.Title))
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// codeOf is for answers that are not the hub's own, of a proxy say.
func codeOf(status int) vezechat.Code {
	switch {
	case status == http.StatusUnauthorized:
		return vezechat.CodeUnauthorized
	case status == http.StatusForbidden:
		return vezechat.CodeForbidden
	case status == http.StatusNotFound:
		return vezechat.CodeNotFound
	case status == http.StatusTooManyRequests:
		return vezechat.CodeRateLimited
	case status >= 500:
		return vezechat.CodeUnavailable
	default:
		return vezechat.CodeBadRequest
	}
}
