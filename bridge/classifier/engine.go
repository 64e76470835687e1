package classifier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Bounds of an answer.
const (
	maxAnswer = 64 << 10
	maxHeader = 16 << 10
)

// defaultPath is asked where the service's address has no path.
const defaultPath = "/npc_response"

// The outcomes of a request, as metrics name them.
const (
	outcomeOK      = "ok"
	outcomeRefused = "refused" // this text, for good: 400, 413, 414, 415 or 422
	outcomeTimeout = "timeout"
	outcomeNetwork = "network"
	outcomeStatus  = "status"
	outcomeGarbage = "garbage"
	outcomeTooLong = "too_long"
)

// engineError is a request that came to nothing.
type engineError struct {
	outcome string
	err     error
}

func (e *engineError) Error() string { return e.outcome + ": " + e.err.Error() }
func (e *engineError) Unwrap() error { return e.err }

// outcomeOf names what became of a request.
func outcomeOf(err error) string {
	var e *engineError
	switch {
	case err == nil:
		return outcomeOK
	case errors.As(err, &e):
		return e.outcome
	}
	return outcomeNetwork
}

// request is what the service is asked. Authors are numbers that mean something in
// this request alone.
type request struct {
	Task     string  `json:"task"`
	RoomKind string  `json:"room_kind"`
	Context  []said  `json:"context"` // the newest last
	Message  said    `json:"message"`
	Labels   []label `json:"labels"` // that something follows from
}

type said struct {
	Author int       `json:"author"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

type label string

// response is what it answers.
type response struct {
	Labels []vezechat.LabelScore `json:"labels"`
}

// requestOf puts a message into the service's form.
func requestOf(m vezechat.MessageContext, rules vezechat.ClassifierRules) request {
	authors := map[vezechat.UserID]int{}
	by := func(c vezechat.CaseMessage) said {
		n, ok := authors[c.UserID]
		if !ok {
			n = len(authors) + 1
			authors[c.UserID] = n
		}
		return said{Author: n, Text: c.Text, At: c.At.UTC()}
	}
	r := request{Task: "classify", RoomKind: string(m.RoomKind), Context: []said{}, Labels: []label{}}
	for _, b := range m.Before {
		r.Context = append(r.Context, by(b))
	}
	r.Message = by(m.Message)
	for l := range rules.Labels {
		r.Labels = append(r.Labels, label(l))
	}
	slices.Sort(r.Labels)
	return r
}

// engine is the service over HTTP. It is the operator's own setting, and asked wherever
// it is; redirects are not followed.
type engine struct {
	url  string
	http *http.Client
}

// newEngine returns an engine. The address was checked with the settings.
func newEngine(address string, timeout time.Duration) (*engine, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "the classifier's address is none of http or https")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = defaultPath
	}
	u.Fragment = ""
	return &engine{url: u.String(), http: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: timeout}).DialContext, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: timeout, MaxResponseHeaderBytes: maxHeader,
			MaxIdleConns: atOnce, MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: atOnce, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (e *engine) close() { e.http.CloseIdleConnections() }

// ask asks for scores. All errors are *engineError, and none repeats a text or the
// address, which may hold a password.
func (e *engine) ask(ctx context.Context, r request, trace vezechat.Trace) ([]vezechat.LabelScore, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, &engineError{outcomeRefused, errors.New("the request cannot be written")}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return nil, &engineError{outcomeRefused, errors.New("the request cannot be made")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", vezechat.Name)
	maps.Copy(req.Header, trace.Clean().Headers())
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, broken(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, refusal(resp.StatusCode)
	case err != nil:
		return nil, broken(err)
	case len(answer) > maxAnswer:
		return nil, &engineError{outcomeTooLong, fmt.Errorf("the answer is over %d bytes", maxAnswer)}
	}
	return parse(answer)
}

// broken is a request without an answer.
func broken(err error) error {
	var u *url.Error
	if errors.As(err, &u) { // it repeats the address
		err = u.Err
	}
	var late net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout() {
		return &engineError{outcomeTimeout, err}
	}
	return &engineError{outcomeNetwork, err}
}

// refusal is an answer that is none: of the text, or of everything.
func refusal(status int) error {
	outcome := outcomeStatus
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		outcome = outcomeRefused
	}
	return &engineError{outcome, fmt.Errorf("status %d", status)}
}

// parse reads scores. Labels are compared in lower case; one that is named twice has
// its highest score.
func parse(answer []byte) ([]vezechat.LabelScore, error) {
	var r response
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, &engineError{outcomeGarbage, errors.New("the answer is not JSON of the right form")}
	}
	if r.Labels == nil {
		return nil, &engineError{outcomeGarbage, errors.New("the answer has no labels")}
	}
	if len(r.Labels) > vezechat.MaxClassifierLabels {
		return nil, &engineError{outcomeGarbage, fmt.Errorf("the answer has over %d labels", vezechat.MaxClassifierLabels)}
	}
	var out []vezechat.LabelScore
	for _, s := range r.Labels {
		s.Label = strings.ToLower(s.Label)
		if !vezechat.ValidLabel(s.Label) || s.Score < 0 || s.Score > 1 {
			return nil, &engineError{outcomeGarbage, errors.New("a label is none, or its score is not 0 to 1")}
		}
		if i := slices.IndexFunc(out, func(o vezechat.LabelScore) bool { return o.Label == s.Label }); i >= 0 {
			out[i].Score = max(out[i].Score, s.Score)
			continue
		}
		out = append(out, s)
	}
	return out, nil
}
