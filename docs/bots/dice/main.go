// Dice is a bot that the hub calls by HTTP: /roll 2d6+1 rolls dice in the room. It needs
// nothing but the standard library, and shows how a call is verified.
//
//	HUB_URL   the hub, as http://localhost:8010
//	BOT_KEY   a key with chat.read and chat.write (/admin/keys)
//	LISTEN    host:port at which it is called; 127.0.0.1:9010 when empty
//	BOT_URL   the same as the hub reaches it; http://LISTEN/ when empty. An address that
//	          is not public has to be in the hub's OUTGOING_ALLOW
//	ROOM      the room where the command holds; everywhere when empty
package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	listen := os.Getenv("LISTEN")
	if listen == "" {
		listen = "127.0.0.1:9010"
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	at := os.Getenv("BOT_URL")
	if at == "" {
		at = "http://" + ln.Addr().String() + "/"
	}
	secret, err := register(ctx, os.Getenv("HUB_URL"), os.Getenv("BOT_KEY"), at)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: bot{secret}, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	fmt.Println("the dice are at", at)
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// register tells the hub of /roll, and returns the secret that calls are signed with: a
// new one at each start.
func register(ctx context.Context, hub, key, url string) (secret []byte, err error) {
	command := map[string]any{"description": "Rolls dice", "usage": "[2d6+1]", "url": url, "rotate": true}
	if room, err := strconv.Atoi(os.Getenv("ROOM")); err == nil {
		command["room_id"] = room
	}
	body, err := json.Marshal(command)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, hub+"/commands/roll", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct{ Secret, Detail string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil || answer.Secret == "" {
		return nil, fmt.Errorf("the hub did not take the command: %s %s", resp.Status, answer.Detail)
	}
	return base64.StdEncoding.DecodeString(strings.TrimPrefix(answer.Secret, "whsec_"))
}

// bot answers calls.
type bot struct{ secret []byte }

// ServeHTTP answers one call.
func (b bot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || !b.signed(r.Header, body) {
		http.Error(w, "not signed by the hub", http.StatusUnauthorized)
		return
	}
	var call struct {
		Data struct{ Text, Handle string }
	}
	if err := json.Unmarshal(body, &call); err != nil {
		http.Error(w, "not a call", http.StatusBadRequest)
		return
	}
	answer := map[string]string{"to": "room"}
	if answer["text"], err = roll(call.Data.Handle, call.Data.Text); err != nil {
		answer = map[string]string{"to": "caller", "text": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // who has gone away hears nothing
}

// signed verifies a call as Standard Webhooks 1.0.0 says: HMAC-SHA-256 of id, time and
// body, of the last five minutes.
func (b bot) signed(h http.Header, body []byte) bool {
	secs, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(secs, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, b.secret)
	mac.Write([]byte(h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, got := range strings.Fields(h.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return true
		}
	}
	return false
}

var dice = regexp.MustCompile(`^([1-9]\d?)?d([1-9]\d{0,2})(?:\+(\d{1,3}))?$`)

// roll rolls what was asked for: 2d6+1, or one die of six sides.
func roll(who, text string) (string, error) {
	if text == "" {
		text = "1d6"
	}
	m := dice.FindStringSubmatch(strings.ReplaceAll(text, " ", ""))
	if m == nil {
		return "", errors.New("say how many dice of how many sides, as 2d6+1: up to 99 of up to 999")
	}
	n, _ := strconv.Atoi(m[1]) // "": one die
	sides, _ := strconv.Atoi(m[2])
	sum, _ := strconv.Atoi(m[3])
	var thrown []string
	for range max(n, 1) {
		eyes := rand.IntN(sides) + 1
		sum += eyes
		thrown = append(thrown, strconv.Itoa(eyes))
	}
	if m[3] != "" {
		thrown = append(thrown, m[3])
	}
	return fmt.Sprintf("%s rolled %s: %s = %d", who, m[0], strings.Join(thrown, " + "), sum), nil
}
