// Package letter reads e-mails that come: who wrote, what of it is an answer, and whether a
// program wrote it.
//
// It promises that whatever bytes come, it returns: in bounded memory and depth, an error
// for what is no e-mail, and else text that is valid UTF-8. It must not know what becomes of
// an e-mail.
package letter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // of those who do not write UTF-8

	"vezeuniqverse.com/vezechat"
)

// Bounds of what is read.
const (
	maxDepth = 8
	maxParts = 100
	maxText  = 256 << 10 // bytes of a text, before what it answers is cut off
)

func malformed(err error, why string) error {
	return vezechat.WrapError(vezechat.CodeBadRequest, err, "the e-mail is malformed: %s", why)
}

// Parse reads an e-mail as it travels (RFC 5322, RFC 2045). CodeBadRequest: it is none.
func Parse(raw []byte) (vezechat.ReceivedEmail, error) {
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
		return vezechat.ReceivedEmail{}, malformed(err, "its head")
	}
	var out vezechat.ReceivedEmail
	header := func(k string) string { return e.Header.Get(k) }
	if err := head(&out, header, recipients(e)); err != nil {
		return out, err
	}
	r := reader{out: &out}
	if err := r.walk(e, 0); err != nil {
		return out, err
	}
	r.finish()
	return out, nil
}

// recipients are all addresses that an e-mail may have been sent to.
func recipients(e *message.Entity) (list []string) {
	for _, k := range [...]string{"Delivered-To", "X-Original-To", "Envelope-To", "To", "Cc"} {
		for f := e.Header.FieldsByKey(k); f.Next(); {
			list = append(list, f.Value())
		}
	}
	return list
}

// head reads what the head tells.
func head(out *vezechat.ReceivedEmail, header func(string) string, to []string) error {
	out.MessageID = strings.Trim(strings.TrimSpace(header("Message-Id")), "<>")
	from, err := addresses(header("From"))
	if err != nil || len(from) != 1 {
		return malformed(err, "it is not from one address")
	}
	out.From = from[0]
	for _, list := range to {
		if a, err := addresses(list); err == nil {
			out.To = append(out.To, a...)
		}
	}
	out.Automatic = automatic(header)
	return nil
}

func addresses(list string) (out []string, err error) {
	parsed, err := mail.ParseAddressList(list)
	for _, a := range parsed {
		out = append(out, a.Address)
	}
	return out, err
}

// automatic is why an e-mail is of a program (RFC 3834 §2 and §5, and what is usual
// besides); empty: it seems to be of a person.
func automatic(header func(string) string) string {
	low := func(k string) string { return strings.ToLower(strings.TrimSpace(header(k))) }
	if v := low("Auto-Submitted"); v != "" && v != "no" {
		return "Auto-Submitted"
	}
	switch low("Precedence") {
	case "bulk", "junk", "list", "auto_reply":
		return "Precedence"
	}
	if low("Return-Path") == "<>" {
		return "Return-Path"
	}
	for _, k := range [...]string{"X-Auto-Response-Suppress", "X-Autoreply", "X-Autorespond", "X-Auto-Reply-From", "List-Id", "X-VEZEChat-Email", "X-Failed-Recipients"} {
		if low(k) != "" {
			return k
		}
	}
	local, _, _ := strings.Cut(low("From"), "@")
	if strings.HasSuffix(local, "mailer-daemon") || strings.HasSuffix(local, "<postmaster") || local == "postmaster" {
		return "From"
	}
	return ""
}

// reader gathers the parts of an e-mail.
type reader struct {
	out   *vezechat.ReceivedEmail
	parts int
	text  string // the first plain one
	html  string // the first of HTML
}

func (r *reader) walk(e *message.Entity, depth int) error {
	if r.parts++; r.parts > maxParts || depth > maxDepth {
		return malformed(nil, "it has too many parts")
	}
	typ, params, err := e.Header.ContentType()
	if err != nil {
		typ = "application/octet-stream"
	}
	typ = strings.ToLower(typ)
	if typ == "multipart/report" && r.out.Automatic == "" {
		r.out.Automatic = "multipart/report" // RFC 6522
	}
	if mr := e.MultipartReader(); mr != nil {
		defer mr.Close()
		for {
			p, err := mr.NextPart()
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil && (p == nil || !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err)):
				return malformed(err, "a part of it")
			}
			if err := r.walk(p, depth+1); err != nil {
				return err
			}
		}
	}
	return r.leaf(e, typ, params)
}

// leaf reads a part that has no parts.
func (r *reader) leaf(e *message.Entity, typ string, params map[string]string) error {
	disposition, more, err := e.Header.ContentDisposition()
	if err != nil {
		disposition, more = "", nil
	}
	name := more["filename"]
	if name == "" {
		name = params["name"]
	}
	limit := int64(maxText)
	inline := disposition != "attachment" && name == ""
	if !inline || !strings.HasPrefix(typ, "text/") && typ != "message/delivery-status" {
		limit = vezechat.MaxAttachment
	}
	b, err := io.ReadAll(io.LimitReader(e.Body, limit+1))
	if err != nil {
		return malformed(err, "a part of it")
	}
	over := int64(len(b)) > limit
	switch {
	case typ == "message/delivery-status":
		r.out.Bounce = bounceOf(b)
	case inline && typ == "text/plain" && r.text == "":
		r.text = text(b[:min(len(b), maxText)])
	case inline && typ == "text/html" && r.html == "":
		r.html = text(b[:min(len(b), maxText)])
	case inline && (strings.HasPrefix(typ, "text/") || strings.HasPrefix(typ, "message/")): // another form of the same, or what a bounce returns
	default:
		r.file(name, typ, b, over)
	}
	return nil
}

// file keeps an attachment, or says that it is left out.
func (r *reader) file(name, typ string, content []byte, over bool) {
	name = fileName(name, typ)
	if over || len(r.out.Attachments) == vezechat.MaxAttachments {
		if len(r.out.LeftOut) < maxParts {
			r.out.LeftOut = append(r.out.LeftOut, name)
		}
		return
	}
	if len(content) > 0 {
		r.out.Attachments = append(r.out.Attachments, vezechat.ReceivedFile{Name: name, Type: mediaType(typ), Content: content})
	}
}

func mediaType(typ string) string {
	if t, _, err := mime.ParseMediaType(typ); err == nil && len(t) <= 100 {
		return t
	}
	return "application/octet-stream"
}

// fileName is the last part of a name, without what would be none of a file.
func fileName(name, typ string) string {
	if decoded, err := new(mime.WordDecoder).DecodeHeader(name); err == nil {
		name = decoded
	}
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.TrimLeft(strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7F || c >= 0x80 && c < 0xA0 || c == 0x202D || c == 0x202E || strings.ContainsRune(`"<>|:*?`, c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(name, "_"))), " "), ".")
	if utf8.RuneCountInString(name) > vezechat.MaxAttachmentName {
		runes := []rune(name)
		name = string(runes[len(runes)-vezechat.MaxAttachmentName:]) // its end says what it is
	}
	if name != "" {
		return name
	}
	if ext, err := mime.ExtensionsByType(typ); err == nil && len(ext) > 0 {
		return "attachment" + ext[0]
	}
	return "attachment"
}

// finish makes of the parts what was written.
func (r *reader) finish() {
	t := r.text
	if strings.TrimSpace(t) == "" {
		t = fromHTML(r.html)
	}
	r.out.Text = Answer(t)
}

func text(b []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(strings.TrimPrefix(string(b), "\uFEFF"), "\uFFFD"), "\r\n", "\n")
}

// bounceOf reads a delivery status (RFC 3464 §2): the worst that it says of a recipient.
// Nil: it was delivered, or is only late.
func bounceOf(b []byte) *vezechat.EmailBounce {
	var out *vezechat.EmailBounce
	action := ""
	for line := range strings.Lines(text(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		v = strings.ToLower(strings.TrimSpace(v))
		switch strings.ToLower(k) {
		case "action":
			action = v
		case "status":
			status, _, _ := strings.Cut(v, " ")
			if len(status) > 11 || action != "" && action != "failed" {
				continue
			}
			if permanent := strings.HasPrefix(status, "5."); out == nil || permanent {
				out = &vezechat.EmailBounce{Status: status, Permanent: permanent}
			}
		}
	}
	return out
}

// parsed is an e-mail that a service has taken apart.
type parsed struct {
	MessageID   string            `json:"message_id"`
	From        string            `json:"from"`
	To          []string          `json:"to"`
	Text        string            `json:"text"`
	HTML        string            `json:"html"`
	Headers     map[string]string `json:"headers"`
	Attachments []struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		Content []byte `json:"content"` // in base64; absent: it was left out on the way
	} `json:"attachments"`
	DeliveryStatus string `json:"delivery_status"` // the part of that type
	Raw            []byte `json:"raw"`             // in base64: the e-mail as it travels, instead of all others
}

// ParseJSON reads an e-mail that a service has taken apart. CodeBadRequest: it is none.
func ParseJSON(body []byte) (vezechat.ReceivedEmail, error) {
	var p parsed
	if err := json.Unmarshal(body, &p); err != nil {
		return vezechat.ReceivedEmail{}, malformed(err, "it is no JSON of the right form")
	}
	if len(p.Raw) > 0 {
		return Parse(p.Raw)
	}
	headers := map[string]string{}
	for k, v := range p.Headers {
		headers[strings.ToLower(k)] = v
	}
	if p.MessageID != "" {
		headers["message-id"] = p.MessageID
	}
	headers["from"] = p.From
	var out vezechat.ReceivedEmail
	if err := head(&out, func(k string) string { return headers[strings.ToLower(k)] }, append(p.To, headers["to"], headers["cc"])); err != nil {
		return out, err
	}
	if p.DeliveryStatus != "" {
		out.Bounce = bounceOf([]byte(p.DeliveryStatus))
	}
	if typ, _, _ := mime.ParseMediaType(headers["content-type"]); out.Automatic == "" && (p.DeliveryStatus != "" || typ == "multipart/report") {
		out.Automatic = "multipart/report"
	}
	r := reader{out: &out, text: text([]byte(p.Text[:min(len(p.Text), maxText)])), html: text([]byte(p.HTML[:min(len(p.HTML), maxText)]))}
	for _, a := range p.Attachments {
		r.file(a.Name, a.Type, a.Content, len(a.Content) > vezechat.MaxAttachment || len(a.Content) == 0)
	}
	r.finish()
	return out, nil
}
