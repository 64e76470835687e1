package main

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSecrets_FromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "redis://:hunter2@localhost:6379/4\r\n")
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string // of the error; empty: none
	}{
		{"a file", map[string]string{"REDIS_URL_FILE": good}, ""},
		{"both", map[string]string{"REDIS_URL_FILE": good, "REDIS_URL": "redis://h"}, "REDIS_URL, REDIS_URL_FILE: only one"},
		{"no such file", map[string]string{"REDIS_URL_FILE": filepath.Join(dir, "none")}, "REDIS_URL_FILE: "},
		{"an empty file", map[string]string{"REDIS_URL_FILE": file("empty", "\n")}, "REDIS_URL_FILE: the file is empty"},
		{"a large file", map[string]string{"REDIS_URL_FILE": file("large", strings.Repeat("x", maxSecretFile+1))}, "REDIS_URL_FILE: the file has more"},
		{"not a URL", map[string]string{"REDIS_URL_FILE": file("wrong", "hunter2")}, "REDIS_URL: "},
		{"what is no secret has no file", map[string]string{"PORT_FILE": good}, ""},
	} {
		c, err := parse(t, tt.env, filepath.Join(dir, "no.env"))
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error repeats the secret: %v", tt.name, err)
		case tt.name == "a file" && c.RedisURL != "redis://:hunter2@localhost:6379/4":
			t.Errorf("read %q", c.RedisURL)
		}
	}
}

// Every setting that holds a secret says so, that it may come from a file.
func TestSecrets_AllAreMarked(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("setting:\"([A-Z_]+)\"([^`\n]*)").FindAllStringSubmatch(string(b), -1) {
			open := m[1] == "VEZECHAT_URL" || m[1] == "PUBLIC_URL" || m[1] == "OIDC_ISSUER"
			looks := regexp.MustCompile(`_URL$|SECRET|TOKEN|PASSWORD|_USERS$|_KEY$`).MatchString(m[1]) && !open
			marked := strings.Contains(m[2], `secret:""`)
			if looks != marked {
				t.Errorf("%s: %s is marked %v as a secret", f, m[1], marked)
			}
			if marked {
				n++
				if !strings.Contains(string(example), m[1]+"_FILE") {
					t.Errorf(".env.example does not name %s_FILE", m[1])
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("%d secrets: this test looks in the wrong place", n)
	}
}

// absent finds secrets in what a process has said.
func absent(t *testing.T, said string, secrets ...string) {
	t.Helper()
	if len(said) < 1000 {
		t.Errorf("it said next to nothing, at debug level: %q", said)
	}
	for _, s := range secrets {
		if i := strings.Index(said, s); i >= 0 {
			t.Errorf("a secret is in the log: …%s…", said[max(0, i-120):min(len(said), i+len(s)+20)])
		}
	}
}

// A hub whose servers are all away logs every error of reaching them, and no secret.
func TestSecrets_NotInTheLogOfFailures(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString([]byte("session-key-of-thirty-two-bytes!"))
	p := startProcess(t, "serve", "--env=prod", "--port=0", "--listen-host=127.0.0.1", "--data-dir="+filepath.Join(t.TempDir(), "data"), "--log-level=debug",
		"--roles=storage,bridge,routing,edge", "--database-url=postgres://veze:pg-hunter2@127.0.0.1:1/veze", "--redis-url=redis://:rd-hunter2@127.0.0.1:1/0",
		"--game-users=cs16:game-hunter2-is-long", "--oidc-issuer=https://127.0.0.1:1", "--oidc-client-id=veze", "--oidc-client-secret=oidc-hunter2",
		"--session-key="+key, "--email-url=smtp://u:mail-hunter2@127.0.0.1:1", "--email-from=hub@chat.example", "--email-token=token-hunter2", "--email-hook-secret=whsec_aG9vay1odW50ZXIyLWhvb2staHVudGVyMi1ob29rcw==",
		"--xengine-url=http://u:engine-hunter2@127.0.0.1:1", "--public-url=https://chat.example")
	for deadline := time.Now().Add(30 * time.Second); strings.Count(p.errors(), "postgres is away") < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not look for its servers: %s", p.errors())
		}
	}
	p.signal(syscall.SIGTERM)
	p.end()
	absent(t, p.errors(), "hunter2", "aG9vay1odW50ZXIy", key, "session-key-of-thirty-two")
}

// A hub that serves logs who asks for what, and no secret of those who ask.
func TestSecrets_NotInTheLogOfRequests(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	key := base64.StdEncoding.EncodeToString([]byte("session-key-of-thirty-two-bytes!"))
	p := startProcess(t, "serve", "--roles=edge", "--port=0", "--data-dir="+dir, "--nats-listen=127.0.0.1:0", "--log-level=debug",
		"--session-key="+key, "--game-users=cs16:game-hunter2-is-long")
	url := p.await()
	status, cookies := 0, ""
	for _, r := range []struct{ method, path, body, auth string }{
		{"GET", "/rooms?token=query-hunter2", "", "Bearer header.hunter2.token"},
		{"GET", "/rooms", "", "Bearer vezek_" + strings.Repeat("HUNTER2A", 7) + "AAA"},
		{"GET", "/auth/callback?code=code-hunter2&state=state-hunter2", "", ""},
		{"POST", "/auth/dev", `{"handle":"pilot","password":"body-hunter2"}`, ""},
		{"GET", "/ws", "", "Bearer socket.hunter2.token"},
		{"GET", "/metrics", "", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, url+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if r.auth != "" {
			req.Header.Set("Authorization", r.auth)
		}
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		status, cookies = resp.StatusCode, cookies+strings.Join(resp.Header.Values("Set-Cookie"), " ")
		_ = resp.Body.Close()
	}
	if status != http.StatusOK {
		t.Errorf("/metrics: %d", status)
	}
	h := readHub(t, dir)
	secrets := []string{"hunter2", "HUNTER2A", key}
	if _, rest, ok := strings.Cut(h.NatsURL, "://"); ok && strings.Contains(rest, "@") {
		userinfo, _, _ := strings.Cut(rest, "@")
		_, password, _ := strings.Cut(userinfo, ":")
		secrets = append(secrets, password)
	}
	for _, m := range regexp.MustCompile(`veze_[a-z]+=([^;]{20,})`).FindAllStringSubmatch(cookies, -1) {
		secrets = append(secrets, m[1])
	}
	signer, err := os.ReadFile(filepath.Join(dir, "dev-issuer.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, strings.Split(string(signer), "\n")[1])
	p.signal(syscall.SIGTERM)
	p.end()
	absent(t, p.errors(), secrets...)
	if !strings.Contains(p.errors(), "/auth/dev") {
		t.Error("requests are not in the log: this test looks in the wrong place")
	}
}
