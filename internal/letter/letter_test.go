package letter_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/letter"
)

func raw(head, body string) []byte {
	return []byte(strings.ReplaceAll("From: Ann <ann@mail.example>\nTo: reply+12.abc@reply.example\nMessage-ID: <m1@mail.example>\n"+head+"\n"+body, "\n", "\r\n"))
}

// What of an answer its author has written, in the words of common mail programs.
func TestAnswer(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"gmail":         "It works.\n\nOn Mon, 23 Nov 2026 at 12:00, Support <reply+12.abc@reply.example> wrote:\n\n> " + vezechat.EmailMarker + "\n> old",
		"gmail, folded": "It works.\n\nOn Mon, 23 Nov 2026 at 12:00, Support\n<reply+12.abc@reply.example> wrote:\n\n> old",
		"thunderbird":   "It works.\n\nAm 23.11.26 um 12:00 schrieb Support:\n> old",
		"outlook":       "It works.\n\n________________________________\nFrom: Support\nSent: Monday\nold",
		"outlook, bare": "It works.\n\nVon: Support\nGesendet: Montag\nAn: Ann\nold",
		"original":      "It works.\n\n-----Original Message-----\nold",
		"french":        "It works.\n\nLe lun. 23 nov. 2026 à 12:00, Support a écrit :\n> old",
		"marker alone":  "It works.\n" + vezechat.EmailMarker + "\nold",
		"signature":     "It works.\n-- \nAnn\nCaptain",
		"quotes only":   "> old\nIt works.\n> older",
		"windows lines": "It works.\r\n\r\n> old\r\n",
	} {
		if got := letter.Answer(text); got != "It works." {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, whole := range []string{
		"On the bridge I wrote: nothing", "From: me\nwith love", "a -- b\n--\nc", "He wrote:\nhello", "-- not a signature", "1 > 0",
		"On it:\nthe answer", "_____\nshort line",
	} {
		if got := letter.Answer(whole); got != whole {
			t.Errorf("%q became %q", whole, got)
		}
	}
}

func TestParse_Parts(t *testing.T) {
	t.Parallel()
	pic := base64.StdEncoding.EncodeToString([]byte("PNG"))
	m, err := letter.Parse(raw("Delivered-To: box@mail.example\nContent-Type: multipart/mixed; boundary=b\n",
		"--b\nContent-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n> old\n--a\nContent-Type: text/html\n\n<p>other</p>\n--a--\n"+
			"--b\nContent-Type: image/png; name=\"=?utf-8?q?b=C3=BCld.png?=\"\nContent-Disposition: attachment; filename=\"../../etc/pa\x01ss.png\"\nContent-Transfer-Encoding: base64\n\n"+pic+"\n--b--\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Text != "Grüße" || m.From != "ann@mail.example" || m.MessageID != "m1@mail.example" || m.Automatic != "" || m.Bounce != nil {
		t.Errorf("%+v", m)
	}
	if !slices.Equal(m.To, []string{"box@mail.example", "reply+12.abc@reply.example"}) {
		t.Errorf("to %q", m.To)
	}
	if len(m.Attachments) != 1 || m.Attachments[0].Name != "pa ss.png" || m.Attachments[0].Type != "image/png" || string(m.Attachments[0].Content) != "PNG" {
		t.Errorf("%+v", m.Attachments)
	}
}

func TestParse_HTMLAlone(t *testing.T) {
	t.Parallel()
	m, err := letter.Parse(raw("Content-Type: text/html\n", "<html><head><title>x</title><style>p{}</style></head><body><p>One &amp; <b>two</b></p><div>three<br>four</div><script>no()</script><blockquote>old</blockquote></body></html>"))
	if err != nil || m.Text != "One & two\n\nthree\nfour" {
		t.Errorf("%q, %v", m.Text, err)
	}
}

// Programs are told from people.
func TestParse_Automatic(t *testing.T) {
	t.Parallel()
	for _, head := range []string{
		"Auto-Submitted: auto-replied\n", "Auto-Submitted: AUTO-GENERATED\n", "Precedence: bulk\n", "Precedence: auto_reply\n", "Return-Path: <>\n", "X-Autoreply: yes\n",
		"X-Auto-Response-Suppress: All\n", "List-Id: <l.example>\n", "X-VEZEChat-Email: 7\n", "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n",
	} {
		if m, err := letter.Parse(raw(head, "--b\n\nI am away\n--b--\n")); err != nil || m.Automatic == "" {
			t.Errorf("%q is of a person: %v", head, err)
		}
	}
	for _, head := range []string{"", "Auto-Submitted: no\n", "Precedence: first-class\n", "Return-Path: <ann@mail.example>\n"} {
		if m, err := letter.Parse(raw(head, "Hello")); err != nil || m.Automatic != "" || m.Text != "Hello" {
			t.Errorf("%q is of a program: %s, %v", head, m.Automatic, err)
		}
	}
}

const report = "--b\nContent-Type: text/plain\n\nIt was not delivered.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; ann@mail.example\nAction: %A\nStatus: %S (no)\n--b\nContent-Type: message/rfc822\n\nSubject: old\n\nold\n--b--\n"

// What a server says of an e-mail that it did not deliver (RFC 3464).
func TestParse_Bounce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action, status    string
		bounce, permanent bool
	}{{"failed", "5.1.1", true, true}, {"failed", "4.2.2", true, false}, {"delayed", "4.2.0", false, false}, {"delivered", "2.0.0", false, false}} {
		body := strings.NewReplacer("%A", c.action, "%S", c.status).Replace(report)
		m, err := letter.Parse(raw("Content-Type: multipart/report; report-type=delivery-status; boundary=b\n", body))
		if err != nil || m.Automatic == "" || (m.Bounce != nil) != c.bounce || m.Bounce != nil && (m.Bounce.Permanent != c.permanent || m.Bounce.Status != c.status) {
			t.Errorf("%+v: %+v, %v", c, m.Bounce, err)
		}
	}
}

// What is over a limit is left out and named, and the rest is kept.
func TestParse_Limits(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for range vezechat.MaxAttachments + 2 {
		b.WriteString("--b\nContent-Type: text/csv; name=small.csv\n\n1,2\n")
	}
	b.WriteString("--b\nContent-Type: image/png; name=big.png\n\n" + strings.Repeat("x", vezechat.MaxAttachment+1) + "\n--b--\n")
	m, err := letter.Parse(raw("Content-Type: multipart/mixed; boundary=b\n", b.String()))
	if err != nil || len(m.Attachments) != vezechat.MaxAttachments || !slices.Equal(m.LeftOut, []string{"small.csv", "small.csv", "big.png"}) {
		t.Errorf("%d kept, left out %q, %v", len(m.Attachments), m.LeftOut, err)
	}
	deep := ""
	for range 20 {
		deep = "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + deep
	}
	if _, err := letter.Parse(raw(deep, "")); vezechat.CodeOf(err) == vezechat.CodeInternal {
		t.Errorf("a deep one: %v", err)
	}
	for _, bad := range []string{"", "no head", "From: a@b.example, c@d.example\r\n\r\nx", "To: x@y.example\r\n\r\nx"} {
		if _, err := letter.Parse([]byte(bad)); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	m, err := letter.ParseJSON([]byte(`{"message_id":"<m1@x>","from":"Ann <ann@mail.example>","to":["reply+1.a@r.example"],"text":"Hi\n> old","headers":{"auto-submitted":"no","Cc":"b@c.example"},
		"attachments":[{"name":"a.txt","type":"text/plain","content":"aGk="},{"name":"left.bin","type":"x/y"}]}`))
	if err != nil || m.From != "ann@mail.example" || m.MessageID != "m1@x" || m.Text != "Hi" || m.Automatic != "" || len(m.Attachments) != 1 || !slices.Equal(m.LeftOut, []string{"left.bin"}) ||
		!slices.Equal(m.To, []string{"reply+1.a@r.example", "b@c.example"}) {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = letter.ParseJSON([]byte(`{"from":"mailer-daemon@mx","to":["a@b.example"],"delivery_status":"Action: failed\nStatus: 5.1.1"}`))
	if err != nil || m.Bounce == nil || !m.Bounce.Permanent || m.Automatic == "" {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = letter.ParseJSON([]byte(`{"raw":"` + base64.StdEncoding.EncodeToString(raw("", "Hello")) + `"}`))
	if err != nil || m.Text != "Hello" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range []string{`[]`, `{`, `{}`, `{"from":"x"}`, `{"from":"a@b.example","to":"x"}`} {
		if _, err := letter.ParseJSON([]byte(bad)); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(raw("Content-Type: multipart/mixed; boundary=b\n", "--b\n\nHi\n--b--\n"))
	f.Add(raw("Content-Type: multipart/report; boundary=b\n", report))
	f.Add(raw("Content-Type: text/html; charset=koi8-r\nContent-Transfer-Encoding: base64\n", "PGI+"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (vezechat.ReceivedEmail, error){letter.Parse, letter.ParseJSON} {
			m, err := parse(b)
			if err == nil && (strings.ToValidUTF8(m.Text, "") != m.Text || len(m.Attachments) > vezechat.MaxAttachments) {
				t.Errorf("%+v", m)
			}
			if err != nil && vezechat.CodeOf(err) != vezechat.CodeBadRequest {
				t.Error(err)
			}
		}
	})
}
