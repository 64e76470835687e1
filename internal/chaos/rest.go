package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// rester is a user who speaks HTTP, to any edge.
type rester struct {
	crowd  *crowd
	handle string
	id     int64
	token  string
	rng    *rand.Rand // of one goroutine
}

func (c *crowd) newRester(ctx context.Context, handle, scope string, n uint64) (*rester, error) {
	tok, err := c.world.token(ctx, handle, scope)
	if err != nil {
		return nil, err
	}
	r := &rester{crowd: c, handle: handle, token: tok, rng: rand.New(rand.NewPCG(c.cfg.Seed, 9000+n))}
	r.id, err = r.whoAmI(ctx)
	return r, err
}

// answer is what an edge said to a request.
type answer struct {
	status int
	body   []byte
	retry  time.Duration
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// passes reports whether the same request may succeed later.
func (a answer) passes() bool { return a.status >= 500 || a.status == http.StatusTooManyRequests }

// once makes one request. An error: what became of it is not known.
func (r *rester) once(ctx context.Context, method, path, key string, body any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(b)
	}
	edges := r.crowd.world.edges
	req, err := http.NewRequestWithContext(ctx, method, edges[r.rng.IntN(len(edges))]+path, in)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, body: b, retry: 100 * time.Millisecond}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.retry = min(time.Duration(s)*time.Second, time.Second)
	}
	return a, nil
}

// until makes a request, again and again, until there is an answer that will not
// change. tries is how often it was made.
func (r *rester) until(ctx context.Context, method, path, key string, body any) (a answer, tries int, err error) {
	for {
		a, err = r.once(ctx, method, path, key, body)
		tries++
		switch {
		case ctx.Err() != nil:
			return a, tries, ctx.Err()
		case err == nil && !a.passes():
			return a, tries, nil
		case err == nil:
			r.crowd.notes.count("refusals: HTTP " + strconv.Itoa(a.status))
		}
		r.crowd.notes.count("retries")
		pause(ctx, max(a.retry, 50*time.Millisecond))
	}
}

func (r *rester) whoAmI(ctx context.Context) (int64, error) {
	a, _, err := r.until(ctx, http.MethodGet, "/auth/me", "", nil)
	if err != nil || !a.ok() {
		return 0, fmt.Errorf("/auth/me: %d %s %w", a.status, clip(a.body), err)
	}
	var me struct {
		User struct {
			ID int64 `json:"id"`
		} `json:"user"`
	}
	return me.User.ID, unmarshal(a.body, &me, &me.User.ID)
}

// unmarshal reads an answer that must have an id.
func unmarshal(b []byte, into any, id *int64) error {
	if err := json.Unmarshal(b, into); err != nil {
		return err
	}
	if *id == 0 {
		return fmt.Errorf("no id in %s", clip(b))
	}
	return nil
}

// allowSpam has the guards judge nothing, or with guarded all but spam: the load is
// faster than people, and says the same.
func (r *rester) allowSpam(ctx context.Context, guarded bool) error {
	rules := json.RawMessage(`{"version":0,"rules":{"lists":[],"rooms":{},"spam":{"window":30},"links":{}}}`)
	if guarded {
		var err error
		if rules, err = r.withoutSpam(ctx); err != nil {
			return err
		}
	}
	a, _, err := r.until(ctx, http.MethodPut, "/moderation/rules", "", rules)
	if err == nil && !a.ok() {
		err = fmt.Errorf("PUT /moderation/rules: %d %s", a.status, clip(a.body))
	}
	return err
}

// withoutSpam is a change of the built-in rules that leaves out limits of spam.
func (r *rester) withoutSpam(ctx context.Context) (json.RawMessage, error) {
	a, _, err := r.until(ctx, http.MethodGet, "/moderation/rules", "", nil)
	if err != nil {
		return nil, err
	}
	var kept struct {
		Version int64                      `json:"version"`
		Rules   map[string]json.RawMessage `json:"rules"`
	}
	if err := json.Unmarshal(a.body, &kept); err != nil || len(kept.Rules["lists"]) < 1000 {
		return nil, fmt.Errorf("GET /moderation/rules: %d, %d bytes of lists, %w", a.status, len(kept.Rules["lists"]), err)
	}
	kept.Rules["spam"] = json.RawMessage(`{"window":30}`)
	return json.Marshal(kept)
}

func (r *rester) makeRoom(ctx context.Context, name, kind string, members []int64) (int64, error) {
	in := map[string]any{"name": name, "kind": kind}
	if len(members) > 0 {
		in["members"] = members
	}
	a, _, err := r.until(ctx, http.MethodPost, "/rooms", "make-"+strings.ReplaceAll(name, " ", "-"), in)
	if err != nil {
		return 0, err
	}
	if !a.ok() {
		return 0, fmt.Errorf("POST /rooms: %d %s", a.status, clip(a.body))
	}
	var room struct {
		ID int64 `json:"id"`
	}
	return room.ID, unmarshal(a.body, &room, &room.ID)
}

// send posts a message until it is acknowledged.
func (r *rester) send(ctx context.Context, s *send) {
	if r.id != 0 {
		s.user = r.id
	}
	r.post(ctx, s)
}

// again posts a message that was acknowledged before, as a client does that lost
// the answer.
func (r *rester) again(ctx context.Context, s *send, rng *rand.Rand) {
	if s.id.Load() == 0 || s.rest && rng.IntN(4) != 0 {
		return
	}
	r.crowd.notes.count("repeated on purpose")
	r.post(ctx, s)
}

func (r *rester) post(ctx context.Context, s *send) {
	a, tries, err := r.until(ctx, http.MethodPost, "/rooms/"+strconv.FormatInt(s.room, 10)+"/messages", s.nonce, map[string]any{"text": s.text})
	s.tries.Add(int64(tries))
	if err != nil {
		return
	}
	if !a.ok() {
		r.crowd.notes.find(promiseProto, "POST of nonce %s was refused with %d: %s", s.nonce, a.status, clip(a.body))
		return
	}
	var got struct {
		ID        uint64 `json:"id"`
		Duplicate bool   `json:"duplicate"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		r.crowd.notes.find(promiseProto, "POST of nonce %s was answered %s", s.nonce, clip(a.body))
		return
	}
	r.crowd.acked(s, got.ID, got.Duplicate)
}

// move is somebody's coming to a room, or going.
type move struct {
	room, user int64
	in         bool
	acked      atomic.Bool
}

// commute has two users without sockets come and go: commands, whose events take
// the way through the outbox.
func (c *crowd) commute() {
	for i := range 2 {
		r, err := c.newRester(c.load, fmt.Sprintf("chaos-commuter-%d", i), "chat.read chat.write", uint64(i)+1)
		if err != nil {
			return // the load is over, or the hub is: others tell
		}
		c.under.Go(func() { c.shuttle(r, c.rooms[i%len(c.rooms)]) })
	}
}

func (c *crowd) shuttle(r *rester, room int64) {
	path := "/rooms/" + strconv.FormatInt(room, 10) + "/members/me"
	for in := true; c.load.Err() == nil; in = !in {
		m := &move{room: room, user: r.id, in: in}
		c.mu.Lock()
		c.moves = append(c.moves, m)
		c.mu.Unlock()
		method := http.MethodDelete
		if in {
			method = http.MethodPut
		}
		a, tries, err := r.until(c.ops, method, path, "", nil)
		switch {
		case err != nil:
			return
		case a.ok(), !in && tries > 1 && a.status == http.StatusNotFound:
			m.acked.Store(true)
		default:
			c.notes.find(promiseProto, "%s %s was refused with %d: %s", method, path, a.status, clip(a.body))
		}
		pause(c.load, 50*time.Millisecond)
	}
}

// madeRoom is a room that somebody asked for under load.
type madeRoom struct {
	name string
	id   atomic.Int64
}

// build has somebody make rooms, each asked for twice with one key.
func (c *crowd) build() {
	r, err := c.newRester(c.load, "chaos-builder", "chat.read chat.write", 77)
	if err != nil {
		return
	}
	for n := 0; c.load.Err() == nil; n++ {
		m := &madeRoom{name: fmt.Sprintf("party %d of %d", n, c.cfg.Seed%1000)}
		c.mu.Lock()
		c.made = append(c.made, m)
		c.mu.Unlock()
		for range 2 {
			id, err := r.makeRoom(c.ops, m.name, "party", nil)
			if err != nil {
				if c.ops.Err() == nil {
					c.notes.find(promiseOnce, "room %q: %v", m.name, err)
				}
				return
			}
			if old := m.id.Swap(id); old != 0 && old != id {
				c.notes.find(promiseOnce, "room %q was made as %d and as %d", m.name, old, id)
			}
		}
		pause(c.load, 700*time.Millisecond)
	}
}
