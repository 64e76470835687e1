package signin

import (
	"errors"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// newClient returns a client that bounds how long a provider takes, how much it says
// and how many requests are on their way, and that follows no redirects: nothing that
// is asked for here moves.
func newClient(t http.RoundTripper) *http.Client {
	if t == nil {
		t = http.DefaultTransport
	}
	return &http.Client{
		Transport: &bounded{next: t, slots: make(chan struct{}, askAtOnce)}, Timeout: askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct {
	next  http.RoundTripper
	slots chan struct{}
}

// RoundTrip makes a request when its turn comes. The turn ends with the answer's body.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case b.slots <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		<-b.slots
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, left: maxAnswer, done: func() { <-b.slots }}
	return resp, nil
}

var errTooLong = errors.New("the answer is too long")

// body reads an answer up to a bound.
type body struct {
	io.ReadCloser
	left int
	done func()
}

// Read fails with errTooLong when there is more than the bound.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// Close ends the request's turn.
func (b *body) Close() error {
	if b.done != nil {
		b.done()
		b.done = nil
	}
	return b.ReadCloser.Close()
}

type metrics struct {
	signIns   *prometheus.CounterVec
	logouts   *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	keys      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "vezechat", Subsystem: "signin", Name: name, Help: help}, []string{"result"})
		reg.MustRegister(c)
		return c
	}
	return &metrics{
		logouts:   counter("logouts_total", "Sign-outs that the provider told of: ok, or the code of the error."),
		signIns:   counter("sign_ins_total", "People who came back from the provider: ok, or the code of the error."),
		refreshes: counter("refreshes_total", "Sessions that were refreshed: ok, or the code of the error."),
		keys:      counter("key_fetches_total", "How often the provider was asked for its keys."),
	}
}
