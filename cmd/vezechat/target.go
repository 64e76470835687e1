package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
	"vezeuniqverse.com/vezechat/edge/identity"
)

// target is the hub that a command speaks to.
type target struct {
	place
	URL []string `name:"url" setting:"VEZECHAT_URL" help:"Address of the hub; several for several edges. Empty: the hub that runs on DATA_DIR."`
}

// urls returns the hub's addresses.
func (t *target) urls() ([]string, error) {
	if len(t.URL) > 0 {
		return t.URL, nil
	}
	h, err := t.readHub()
	if err != nil {
		return nil, err
	}
	if h.URL == "" {
		return nil, fmt.Errorf("no hub runs on DATA_DIR %s: start one with vezechat serve, or give its address with --url", t.DataDir)
	}
	return []string{h.URL}, nil
}

// speaker is one user at the hub: by a token that was given, or one minted with
// the key of a hub in dev.
type speaker struct {
	Token  string `setting:"VEZECHAT_TOKEN" secret:"" help:"Token to use; without one it is minted for --handle with the key in DATA_DIR."`
	Handle string `default:"cli" help:"Who to be, when there is no token."`
	Scope  string `default:"chat.read chat.write" help:"What to be allowed, when there is no token."`
}

func (s *speaker) token(p *place) (string, error) {
	if s.Token != "" {
		return s.Token, nil
	}
	return p.mint(identity.Claims{Handle: s.Handle, Scopes: vezechat.ParseScopes(s.Scope)}, 24*time.Hour)
}

// room finds a room, by id or name, as a speaker sees it.
func (t *target) room(ctx context.Context, s *speaker, name string) (rest client.REST, id vezechat.RoomID, err error) {
	urls, err := t.urls()
	if err != nil {
		return rest, 0, err
	}
	tok, err := s.token(&t.place)
	if err != nil {
		return rest, 0, err
	}
	rest = client.REST{URL: urls[0], Token: tok}
	id, err = rest.Room(ctx, name)
	return rest, id, err
}

// crowd mints tokens for many users. All are staff: rate limits are for people.
func (p *place) crowdToken(handle string, more ...vezechat.Scope) (string, error) {
	scopes := append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeChatModerate}, more...)
	return p.mint(identity.Claims{Handle: handle, Scopes: scopes}, 24*time.Hour)
}

// newBar returns a progress bar, silent when w is no terminal.
func newBar(w io.Writer, total int, what string) *progressbar.ProgressBar {
	f, ok := w.(*os.File)
	visible := ok && term.IsTerminal(int(f.Fd()))
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

var errDiffers = errors.New("the copies differ, see the report")
