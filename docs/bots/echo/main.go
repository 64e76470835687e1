// Echo is a bot that the hub calls over NATS: /echo repeats what was said to whoever said
// it, and /say to the room.
//
//	HUB_URL   the hub, as http://localhost:8010
//	BOT_KEY   a key with chat.read and chat.write (/admin/keys)
//	NATS_URL  the hub's NATS
//	ROOM      the room where the commands hold; everywhere when empty
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"

	"github.com/nats-io/nats.go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.Name("echo bot"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	for name, to := range map[string]string{"echo": "caller", "say": "room"} {
		id, err := register(ctx, name, "Repeats what you say, to the "+to)
		if err != nil {
			return err
		}
		_, err = nc.Subscribe(fmt.Sprintf("veze.bot.%d.%s", id, name), func(m *nats.Msg) { answer(m, to) })
		if err != nil {
			return err
		}
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	fmt.Println("the echo listens")
	<-ctx.Done()
	return nil
}

func answer(m *nats.Msg, to string) {
	var call struct{ Text string }
	if err := json.Unmarshal(m.Data, &call); err != nil {
		log.Print(err)
		return
	}
	if call.Text == "" {
		to, call.Text = "caller", "…"
	}
	b, err := json.Marshal(map[string]string{"to": to, "text": call.Text})
	if err == nil {
		err = m.Respond(b)
	}
	if err != nil {
		log.Print(err)
	}
}

// register tells the hub of a command, and returns the bot's user id.
func register(ctx context.Context, name, description string) (bot int64, err error) {
	command := map[string]any{"description": description, "usage": "text"}
	if room, err := strconv.Atoi(os.Getenv("ROOM")); err == nil {
		command["room_id"] = room
	}
	body, err := json.Marshal(command)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, os.Getenv("HUB_URL")+"/commands/"+name, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+os.Getenv("BOT_KEY"))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var made struct {
		Bot    int64 `json:"bot_id"`
		Detail string
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&made); err != nil || made.Bot == 0 {
		return 0, fmt.Errorf("the hub did not take /%s: %s %s", name, resp.Status, made.Detail)
	}
	return made.Bot, nil
}
