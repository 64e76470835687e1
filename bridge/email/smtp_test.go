package email_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/email"
)

// smtpServer is a real SMTP server, which refuses as it is told.
type smtpServer struct {
	addr  string
	roots *tls.Config

	mu     sync.Mutex // guards below
	refuse func(cmd string) error
	drop   int  // answers to DATA that do not come: the connection is cut when the e-mail was taken
	curt   bool // it hangs up when it has said that it took an e-mail
	got    []letter
}

type letter struct{ from, to, body string }

type smtpSession struct {
	*smtpServer
	conn     *smtp.Conn
	letter   letter
	signedIn bool
}

func newSMTPServer(t *testing.T, auth, implicit bool) *smtpServer {
	t.Helper()
	cert, roots := certificate(t)
	s := &smtpServer{roots: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &smtpSession{smtpServer: s, conn: c, signedIn: !auth}, nil
	}))
	server.Domain, server.ReadTimeout, server.WriteTimeout = "localhost", 10*time.Second, 10*time.Second
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.addr = ln.Addr().String()
	if implicit {
		ln = tls.NewListener(ln, server.TLSConfig)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = ln.Close() // the server does not know it until it serves
		<-done
	})
	return s
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (s *smtpServer) asked(cmd string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == nil {
		return nil
	}
	return s.refuse(cmd)
}

func (s *smtpServer) refuses(fn func(cmd string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = fn
}

func (s *smtpServer) letters() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]letter(nil), s.got...)
}

// AuthMechanisms implements smtp.AuthSession.
func (s *smtpSession) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements smtp.AuthSession.
func (s *smtpSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if _, ok := s.conn.TLSConnectionState(); !ok || user != "hub" || password != "p@ss" {
			return smtp.ErrAuthFailed
		}
		s.signedIn = true
		return nil
	}), nil
}

func (s *smtpSession) Mail(from string, _ *smtp.MailOptions) error {
	if !s.signedIn {
		return smtp.ErrAuthRequired
	}
	s.letter = letter{from: from}
	return s.asked("MAIL")
}

func (s *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.letter.to = to
	return s.asked("RCPT")
}

func (s *smtpSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.asked("DATA"); err != nil {
		return err
	}
	s.letter.body = string(b)
	s.mu.Lock()
	s.got = append(s.got, s.letter)
	cut := s.drop > 0
	s.drop--
	s.mu.Unlock()
	if cut {
		return s.conn.Conn().Close()
	}
	return nil
}

// Reset comes after the answer to DATA.
func (s *smtpSession) Reset() {
	s.mu.Lock()
	hangUp := s.curt && s.letter.body != ""
	s.mu.Unlock()
	if hangUp {
		_ = s.conn.Conn().Close()
	}
}

func (s *smtpSession) Logout() error { return nil }

// An e-mail arrives whole, by STARTTLS with a password and by TLS from the start.
func TestSMTP_Arrives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, scheme string
		auth         bool
	}{{"starttls", "smtp", true}, {"tls", "smtps", true}, {"open", "smtp", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, s := newWorld(t), newSMTPServer(t, c.auth, c.scheme == "smtps")
			login := ""
			if c.auth {
				login = "hub:p%40ss@"
			}
			sender, err := email.NewSMTPSender(c.scheme+"://"+login+s.addr, s.roots)
			must(t, err)
			cfg := config(w.Store, sender)
			cfg.Timeout = 10 * time.Second
			w.run(cfg)
			tk := w.ticket(w.ann, "Löst & found, a subject that is so long that it has to be folded somewhere, with =?utf-8?q?words?= in it")
			w.say(w.agent, tk.Room, "line one\n.\nline three, "+strings.Repeat("wide ", 400)+"ünd")
			until(t, "an e-mail", func() bool { return len(s.letters()) == 1 })
			got := s.letters()[0]
			signer := vezechat.NewEmailSigner([]byte("a key of the tests"))
			if reply := signer.ReplyAddress(tk.ID, w.ann.UserID, "reply.example"); got.to != "ann@mail.example" || got.from != reply {
				t.Errorf("from %q to %q", got.from, got.to)
			}
			m, err := mail.ReadMessage(strings.NewReader(got.body))
			must(t, err)
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if want := fmt.Sprintf("[Ticket %d] %s", tk.ID, tk.Subject); err != nil || subject != want {
				t.Errorf("subject %q, want %q, %v", subject, want, err)
			}
			for k, want := range map[string]string{
				"Auto-Submitted": "auto-generated", "References": fmt.Sprintf("<ticket-%d@hub.example>", tk.ID), "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
				"From": `"Support" <support@hub.example>`, "To": "<ann@mail.example>",
			} {
				if m.Header.Get(k) != want {
					t.Errorf("%s: %q, want %q", k, m.Header.Get(k), want)
				}
			}
			if u := m.Header.Get("List-Unsubscribe"); !strings.HasPrefix(u, "<https://hub.example/chat/email/unsubscribe?") || !strings.HasSuffix(u, ">") {
				t.Errorf("List-Unsubscribe %q", u)
			}
			text, html := partsOf(t, m)
			if !strings.Contains(text, "line one\n.\nline three, wide wide") || !strings.Contains(text, "ünd") || !strings.Contains(html, "line three") {
				t.Errorf("text %q\nHTML %q", text, html)
			}
		})
	}
}

func partsOf(t *testing.T, m *mail.Message) (text, html string) {
	t.Helper()
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	must(t, err)
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return strings.ReplaceAll(text, "\r\n", "\n"), html
		}
		must(t, err)
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		must(t, err)
		if strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
			html = string(b)
		} else {
			text = string(b)
		}
	}
}

// What a server refuses for good is given up at once, what it refuses now or because of
// the hub is tried again; a password is not sent in the clear.
func TestSMTP_Refusals(t *testing.T) {
	t.Parallel()
	sure := func(cmd string, code int) func(string) error {
		return func(c string) error {
			if c != cmd {
				return nil
			}
			return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "no"}
		}
	}
	for _, c := range []struct {
		name   string
		url    string // with ADDR for the server's
		refuse func(string) error
		want   vezechat.Code
	}{
		{"no such mailbox", "smtp://hub:p%40ss@ADDR", sure("RCPT", 550), vezechat.CodeBadRequest},
		{"content refused", "smtp://hub:p%40ss@ADDR", sure("DATA", 554), vezechat.CodeBadRequest},
		{"greylisted", "smtp://hub:p%40ss@ADDR", sure("RCPT", 450), vezechat.CodeUnavailable},
		{"full", "smtp://hub:p%40ss@ADDR", sure("DATA", 452), vezechat.CodeUnavailable},
		{"sender not let in", "smtp://hub:p%40ss@ADDR", sure("MAIL", 530), vezechat.CodeUnavailable},
		{"wrong password", "smtp://hub:wrong@ADDR", nil, vezechat.CodeUnavailable},
		{"no password", "smtp://ADDR", nil, vezechat.CodeUnavailable},
		{"nobody there", "smtp://127.0.0.1:1", nil, vezechat.CodeUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSMTPServer(t, true, false)
			s.refuses(c.refuse)
			sender, err := email.NewSMTPSender(strings.Replace(c.url, "ADDR", s.addr, 1), s.roots)
			must(t, err)
			err = sender.Send(t.Context(), vezechat.OutgoingEmail{ID: 1, Key: "key", Mail: vezechat.EmailMessage{
				From: "hub@hub.example", To: "ann@mail.example", Subject: "s", Text: "t", HTML: "h", MessageID: "key@hub.example", Date: time.Now(),
			}})
			if vezechat.CodeOf(err) != c.want || len(s.letters()) != 0 {
				t.Errorf("%v, want %s; %d letters", err, c.want, len(s.letters()))
			}
			if err != nil && strings.Contains(err.Error(), "p@ss") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}

// An answer that is lost has the e-mail sent again: the same bytes under the same
// Message-ID.
func TestSMTP_LostAnswer(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), newSMTPServer(t, false, false)
	s.drop = 1
	sender, err := email.NewSMTPSender("smtp://"+s.addr, s.roots)
	must(t, err)
	cfg := config(w.Store, sender)
	cfg.Timeout = 10 * time.Second
	w.run(cfg)
	tk := w.ticket(w.ann, "a ticket")
	w.say(w.agent, tk.Room, "an update")
	until(t, "it is sent again, and that is noted", func() bool {
		list, err := w.Emails(t.Context(), vezechat.EmailQuery{Caller: w.boss, State: vezechat.EmailSent})
		return err == nil && len(list) == 1
	})
	got := s.letters()
	if len(got) != 2 || got[0] != got[1] {
		t.Errorf("%d letters: %+v", len(got), got)
	}
}

// What a server has taken was sent, also when it hangs up before goodbye was said.
func TestSMTP_HangsUp(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, false, false)
	s.curt = true
	sender, err := email.NewSMTPSender("smtp://"+s.addr, s.roots)
	must(t, err)
	err = sender.Send(t.Context(), vezechat.OutgoingEmail{ID: 1, Key: "key", Mail: vezechat.EmailMessage{
		From: "hub@hub.example", To: "ann@mail.example", Subject: "s", Text: "t", HTML: "h", MessageID: "key@hub.example", Date: time.Now(),
	}})
	if err != nil || len(s.letters()) != 1 {
		t.Errorf("%v; %d letters", err, len(s.letters()))
	}
}
