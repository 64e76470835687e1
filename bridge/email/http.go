package email

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

// HTTPSender hands e-mails to a service by POST {url}/jmap/send.
type HTTPSender struct {
	url    string
	token  string
	user   *url.Userinfo
	client *http.Client
}

// maxAnswer bounds what is read of a service's answer, in bytes.
const maxAnswer = 4 << 10

// NewHTTPSender returns a sender to a service. A name and a password in its address are
// sent by Basic, a token by Bearer. CodeBadRequest: it is no address.
func NewHTTPSender(address, token string) (*HTTPSender, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "not an address of a service")
	}
	s := &HTTPSender{token: token, user: u.User}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	s.url = strings.TrimRight(u.String(), "/") + "/jmap/send"
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: atOnce,
			IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it would lose the body, or the secret
	}
	return s, nil
}

// Close gives back the connections that wait for another e-mail.
func (s *HTTPSender) Close() { s.client.CloseIdleConnections() }

// body is what a service is told.
type body struct {
	From      string            `json:"from"`
	To        []string          `json:"to"`
	ReplyTo   string            `json:"reply_to,omitempty"`
	Subject   string            `json:"subject"`
	Text      string            `json:"text"`
	HTML      string            `json:"html"`
	MessageID string            `json:"message_id"`
	Headers   map[string]string `json:"headers"`
}

// Send implements Sender. Whatever is not clearly a refusal of this e-mail is
// CodeUnavailable: a service that does not let the hub in today may tomorrow.
func (s *HTTPSender) Send(ctx context.Context, o vezechat.OutgoingEmail) error {
	m := &o.Mail
	b, err := json.Marshal(body{
		From: m.From, To: []string{m.To}, ReplyTo: m.ReplyTo, Subject: m.Subject, Text: m.Text, HTML: m.HTML, MessageID: "<" + m.MessageID + ">", Headers: headers(o),
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", o.Key)
	req.Header.Set("User-Agent", vezechat.Name)
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	} else if s.user != nil {
		pass, _ := s.user.Password()
		req.SetBasicAuth(s.user.Username(), pass)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return vezechat.WrapError(vezechat.CodeUnavailable, err, "the mail service does not answer")
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what the status says is enough
	return judge(resp, said)
}

func judge(resp *http.Response, said []byte) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	why := fmt.Errorf("%s: %q", resp.Status, vezechat.Clip(string(said), 200))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return vezechat.WrapError(vezechat.CodeBadRequest, why, "the mail service refuses the e-mail")
	}
	e := vezechat.WrapError(vezechat.CodeUnavailable, why, "the mail service does not take it now")
	if secs, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && secs > 0 {
		return e.RetryIn(time.Duration(min(secs, 1<<20)) * time.Second)
	}
	return e
}
