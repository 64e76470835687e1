// Command idp is an OpenID provider for tests of signing in: the zitadel/oidc server
// with its example storage in memory, users from the command line, and a hub as its
// one client. It is a module of its own, so that the hub does not depend on a provider.
//
// It prints its issuer when it listens. POST /rotate has it sign with a new key and
// forget the old one; POST /scopes?user=NAME&scopes=S+S has somebody get those from then on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "idp:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("idp", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:0", "host:port to listen at")
	client := fs.String("client", "vezechat", "client id of the hub")
	secret := fs.String("secret", "a secret of tests", "its secret")
	hub := fs.String("hub", "", "public address of the hub")
	opaque := fs.Bool("opaque", false, "access tokens that only the provider can read")
	life := fs.Duration("life", 5*time.Minute, "how long access tokens are good")
	people := users{}
	fs.Var(people, "user", "name:password:scope scope…; may be repeated")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	issuer := "http://" + ln.Addr().String()
	c := storage.WebClient(*client, *secret, *hub+"/auth/callback")
	s := newStore(people, map[string]*storage.Client{*client: c}, *hub, *opaque, *life)
	router := exampleop.SetupServer(issuer, s, slog.New(slog.DiscardHandler), false)
	router.Post("/rotate", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.rotate(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	router.Post("/scopes", func(_ http.ResponseWriter, r *http.Request) {
		s.allow(r.FormValue("user"), strings.Fields(r.FormValue("scopes")))
	})
	srv := &http.Server{Handler: router, ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() { <-ctx.Done(); _ = srv.Close() }()
	fmt.Println(issuer)
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// users are people by name.
type users map[string]*person

type person struct {
	storage.User
	scopes []string
}

// String is for the flag package.
func (u users) String() string { return "" }

// Set takes a user from the command line.
func (u users) Set(v string) error {
	f := strings.SplitN(v, ":", 3)
	if len(f) != 3 || f[0] == "" || f[1] == "" {
		return errors.New("want name:password:scopes")
	}
	u[f[0]] = &person{scopes: strings.Fields(f[2]), User: storage.User{
		ID: "id-" + f[0], Username: f[0], Password: f[1], FirstName: f[0], LastName: "Tester",
		Email: f[0] + "@vezeuniqverse.com", EmailVerified: true,
	}}
	return nil
}

// GetUserByID returns nil for nobody.
func (u users) GetUserByID(id string) *storage.User {
	return u.GetUserByUsername(strings.TrimPrefix(id, "id-"))
}

// GetUserByUsername returns nil for nobody.
func (u users) GetUserByUsername(name string) *storage.User {
	if p, ok := u[name]; ok {
		return &p.User
	}
	return nil
}

// ExampleClientID is asked for by the example storage, for a service that is not used.
func (u users) ExampleClientID() string { return "service" }
