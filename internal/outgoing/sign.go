package outgoing

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Headers of a signed hook, and the form of its secret (Standard Webhooks 1.0.0,
// "Signature scheme").
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"

	secretPrefix = "whsec_"
	sigVersion   = "v1"
	minSecret    = 24 // bytes, as the standard has it
	maxSecret    = 64
)

// Tolerance is how old, or how far ahead, a hook may be when it is verified: what was
// recorded is not taken later.
const Tolerance = 5 * time.Minute

// maxSignatures bounds what of a header is compared.
const maxSignatures = 8

// Secret is what a hook is signed with. It does not show itself in logs.
type Secret struct{ key []byte }

// NewSecret returns a new secret of 32 bytes.
func NewSecret() Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return Secret{key}
}

// ParseSecret reads a secret as whsec_ and base64. CodeBadRequest: it is not one of 24
// to 64 bytes; the message does not repeat it.
func ParseSecret(s string) (Secret, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, secretPrefix))
	if err != nil || len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, vezechat.Errorf(vezechat.CodeBadRequest, "not a secret of hooks: whsec_ and %d to %d bytes in base64", minSecret, maxSecret)
	}
	return Secret{key}, nil
}

// Reveal returns the secret in the form of ParseSecret.
func (s Secret) Reveal() string { return secretPrefix + base64.StdEncoding.EncodeToString(s.key) }

// NewSecretOf returns a secret that is made of a key of another use: the same one each
// time.
func NewSecretOf(key []byte, use string) Secret {
	return Secret{Secret{key}.Derive(use)}
}

// ParseSecrets reads secrets, separated by commas; none of an empty text.
func ParseSecrets(v string) (out []Secret, err error) {
	if v == "" {
		return nil, nil
	}
	for one := range strings.SplitSeq(v, ",") {
		s, err := ParseSecret(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Derive returns a key for another use, of 32 bytes: who learns it learns nothing of the
// secret, nor of the keys of other uses.
func (s Secret) Derive(use string) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte("derive\x00" + use))
	return m.Sum(nil)
}

// String hides the secret.
func (s Secret) String() string { return secretPrefix + "***" }

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// Sign puts the headers of a hook on a request: its id, which stays the same when it
// is sent again, the time, and a signature of both and the body for each secret, so
// that secrets can be rotated.
func Sign(h http.Header, id string, at time.Time, body []byte, secrets ...Secret) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	sigs := make([]string, len(secrets))
	for i, s := range secrets {
		sigs[i] = sigVersion + "," + base64.StdEncoding.EncodeToString(s.sum(id, stamp, body))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderSignature, strings.Join(sigs, " "))
}

func (s Secret) sum(id, stamp string, body []byte) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(id + "." + stamp + "."))
	m.Write(body)
	return m.Sum(nil)
}

// Verify returns nil when a hook's headers were made by Sign with one of the secrets,
// within Tolerance of now. CodeUnauthorized: they were not.
func Verify(h http.Header, now time.Time, body []byte, secrets ...Secret) error {
	refused := func(why string) error { return vezechat.Errorf(vezechat.CodeUnauthorized, "the hook %s", why) }
	id, stamp := h.Get(HeaderID), h.Get(HeaderTimestamp)
	secs, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" || strings.Contains(id, ".") {
		return refused("has no usable id and time")
	}
	if age := now.Sub(time.Unix(secs, 0)); age > Tolerance || age < -Tolerance {
		return refused("is too old, or of a time to come")
	}
	for i, sig := range strings.Fields(h.Get(HeaderSignature)) {
		version, b64, _ := strings.Cut(sig, ",")
		got, err := base64.StdEncoding.DecodeString(b64)
		if i >= maxSignatures || version != sigVersion || err != nil {
			continue
		}
		for _, s := range secrets {
			if len(s.key) > 0 && subtle.ConstantTimeCompare(got, s.sum(id, stamp, body)) == 1 {
				return nil
			}
		}
	}
	return refused("is not signed by a secret that is known here")
}
