package main

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		beProgram(args)
	}
	goleak.VerifyTestMain(m)
}

// parse returns what serve would be run with.
func parse(t *testing.T, env map[string]string, file string, args ...string) (*serveCmd, error) {
	t.Helper()
	src, err := newSource(args, env, file)
	if err != nil {
		return nil, err
	}
	var c struct {
		Serve serveCmd `cmd:""`
	}
	k, err := kong.New(&c, kong.Resolvers(src))
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Parse(append([]string{"serve"}, args...))
	return &c.Serve, err
}

func TestSettings_WhereTheyComeFrom(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("PORT=1003\nREDIS_URL='redis://localhost:6379/4' # as Helm has it\nDATA_DIR=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		port string
		rds  string
	}{
		{"nothing said", nil, nil, "1003", "redis://localhost:6379/4"},
		{"the environment wins over the file", map[string]string{"PORT": "1002"}, nil, "1002", "redis://localhost:6379/4"},
		{"an empty one is none", map[string]string{"PORT": ""}, nil, "1003", "redis://localhost:6379/4"},
		{"a flag wins over both", map[string]string{"PORT": "1002"}, []string{"--port", "1001"}, "1001", "redis://localhost:6379/4"},
		{"no file in prod, by the environment", map[string]string{"ENV": "prod", "ROLES": "bridge", "REDIS_URL": "redis://h"}, nil, "8010", "redis://h"},
		{"no file in prod, by a flag", nil, []string{"--env=prod", "--roles=bridge", "--redis-url=redis://h"}, "8010", "redis://h"},
		{"no file in prod, by a flag in two words", nil, []string{"--env", "prod", "--roles=bridge", "--redis-url=redis://h"}, "8010", "redis://h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := parse(t, tt.env, file, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if c.Port != tt.port || c.RedisURL != tt.rds || c.DataDir != "data" {
				t.Errorf("port %s, redis %s, directory %s", c.Port, c.RedisURL, c.DataDir)
			}
		})
	}
}

// names reports whether an error names a setting, or the flag of the same name.
func names(err error, setting string) bool {
	flag := "--" + strings.ToLower(strings.ReplaceAll(setting, "_", "-")) + ":"
	return strings.Contains(err.Error(), setting+":") || strings.Contains(err.Error(), flag)
}

func TestSettings_Malformed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{"ENV", "staging", false},
		{"PORT", "http", false}, {"PORT", "-1", false}, {"PORT", "65536", false}, {"PORT", "0", true}, {"PORT", "65535", true},
		{"DATABASE_URL", "mysql://h/d", false}, {"DATABASE_URL", "hostname", false}, {"DATABASE_URL", "postgres://", false},
		{"DATABASE_URL", "postgresql+asyncpg://u:p@h:5432/d", true}, {"DATABASE_URL", "postgres:///d?host=/run/pg", true},
		{"REDIS_URL", "http://h", false}, {"REDIS_URL", "redis://:pw@h:1/4", true}, {"REDIS_URL", "unix:///run/redis.sock?db=2", true},
		{"NATS_URL", "h:4222", false}, {"NATS_URL", "nats://a,", false}, {"NATS_URL", "nats://a:4222,tls://b:4222", true},
		{"NATS_LISTEN", "4222", false}, {"NATS_LISTEN", "localhost:nats", false}, {"NATS_LISTEN", "off", true}, {"NATS_LISTEN", "127.0.0.1:0", true},
		{"LISTEN_HOST", "localhost:80", false}, {"LISTEN_HOST", "::1", true}, {"LISTEN_HOST", "0.0.0.0", true},
		{"PPROF_LISTEN", "6060", false}, {"PPROF_LISTEN", "0.0.0.0:6060", false}, {"PPROF_LISTEN", ":6060", true}, {"PPROF_LISTEN", "[::1]:6060", true},
		{"FANOUT_PER_MEMBER", "1ms", true}, {"FANOUT_PER_MEMBER", "0s", false}, {"FANOUT_PER_MEMBER", "16ms", true}, {"FANOUT_PER_MEMBER", "17ms", false}, {"FANOUT_PER_MEMBER", "fast", false},
		{"NATS_REPLICAS", "2", false}, {"NATS_REPLICAS", "three", false}, {"NATS_REPLICAS", "3", true}, {"REDIS_MAXLEN", "-1", false}, {"REDIS_MAXLEN", "some", false},
		{"NATS_SYNC", "2m", false}, {"NATS_SYNC", "always", true},
		{"DOMAIN_GATE", "https://vezeuniqverse.com", false}, {"DOMAIN_GATE", "com", false}, {"DOMAIN_GATE", "vezeuniqverse.com", true},
		{"OIDC_ISSUER", "issuer", false}, {"OIDC_SCOPES", "profile", false}, {"OIDC_SCOPES", "openid chat.read", true},
		{"GAME_USERS", "cs16", false}, {"GAME_USERS", "cs:a,cs:b", false}, {"GAME_USERS", "hub:x", false}, {"GAME_USERS", "cs:a, tf:b:c", true},
		{"BOT_USERS", "dice:x", false}, {"BOT_USERS", "981", false}, {"BOT_USERS", "0:x", false}, {"BOT_USERS", "0981:x", false}, {"BOT_USERS", "981:a,981:b", false}, {"BOT_USERS", "981:a, 982:b:c", true},
		{"SESSION_KEY", "short", false}, {"SESSION_KEY", key + ",", false}, {"SESSION_KEY", key + ", " + key, true},
		{"XENGINE_URL", "x", false}, {"XENGINE_TIMEOUT", "1ms", false}, {"XENGINE_BACKLOG", "48h", false}, {"XENGINE_BACKLOG", "1m", true}, {"PUBLIC_URL", "chat.example", false}, {"PUBLIC_URL", "https://chat.example/proxy/chat", true},
		{"CORS_ORIGINS", "helm.example", false}, {"CORS_ORIGINS", "https://helm.example/", false}, {"CORS_ORIGINS", "https://Helm.example", false}, {"CORS_ORIGINS", "https://helm.example,*", false},
		{"CORS_ORIGINS", "https://helm.example:443", false}, {"CORS_ORIGINS", "https://*.example", false}, {"CORS_ORIGINS", "https://helm.example,", false},
		{"TRUSTED_PROXIES", "proxy.example", false}, {"TRUSTED_PROXIES", "10.0.0.0/40", false}, {"TRUSTED_PROXIES", "none,10.0.0.1", false}, {"TRUSTED_PROXIES", "none", true}, {"TRUSTED_PROXIES", "10.0.0.1,fd00::/8", true},
		{"CORS_ORIGINS", "*", true}, {"CORS_ORIGINS", "https://helm.example,http://localhost:9000", true},
		{"EMAIL_URL", "mail@x", false}, {"EMAIL_FROM", "nobody", false}, {"EMAIL_FROM", "Hub <hub@chat.example>", true}, {"EMAIL_QUIET", "10ms", false}, {"DM_EMAIL_AFTER", "1s", false}, {"DM_EMAIL_AFTER", "0", true},
		{"EMAIL_HOOK_SECRET", "whsec_short", false}, {"EMAIL_HOOK_SECRET", "whsec_aG9vay1odW50ZXIyLWhvb2staHVudGVyMi1ob29rcw==", true}, {"EMAIL_REPLY_DOMAIN", "a b", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", false}, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", true},
		{"RETENTION_GLOBAL", "2", false}, {"RETENTION_DM", "-1", false}, {"RETENTION_SUPPORT", "3", true}, {"RETENTION_PARTY", "0", true},
		{"TREND_SOURCES", "x engine", false}, {"TREND_SOURCES", "xengine, cs16", true}, {"TREND_ROOMS_PER_HOUR", "101", false}, {"TREND_LINES_PER_MINUTE", "-1", false},
		{"LOG_LEVEL", "loud", false}, {"ROLES", "", true}, {"ROLES", "edge,router", false}, {"ROLES", "edge,", false}, {"ROLES", "edge", true},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, map[string]string{tt.name: tt.value}, "no such file")
			switch {
			case tt.ok && err != nil:
				t.Error(err)
			case !tt.ok && (err == nil || !names(err, tt.name)):
				t.Errorf("err = %v, want one that names %s", err, tt.name)
			}
		})
	}
}

// A malformed URL may hold a password; the complaint must not.
func TestSettings_SecretsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "NATS_URL"} {
		for _, v := range []string{"ftp://u:hunter2@h", "post gres://u:hunter2@h:x", "postgres://u:hunter2@h:port/d"} {
			_, err := parse(t, map[string]string{name: v}, "no such file")
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: err = %v", name, err)
			}
		}
	}
}

// Signing in at a provider needs a client and an address to come back to.
func TestSettings_Provider(t *testing.T) {
	t.Parallel()
	whole := map[string]string{
		"ENV": "prod", "ROLES": "edge", "NATS_URL": "nats://h", "PUBLIC_URL": "https://chat.example",
		"OIDC_ISSUER": "https://id.example/realms/x", "OIDC_CLIENT_ID": "vezechat", "SESSION_KEY": key,
	}
	if _, err := parse(t, whole, "no such file"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"PUBLIC_URL", "OIDC_ISSUER", "OIDC_CLIENT_ID", "SESSION_KEY"} {
		part := maps.Clone(whole)
		delete(part, name)
		if _, err := parse(t, part, "no such file"); err == nil || !names(err, name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	whole["OIDC_ISSUER"] = "http://id.example"
	if _, err := parse(t, whole, "no such file"); err == nil || !names(err, "OIDC_ISSUER") {
		t.Errorf("without TLS: %v", err)
	}
	whole["ROLES"] = "bridge"
	whole["REDIS_URL"] = "redis://h"
	if _, err := parse(t, whole, "no such file"); err != nil {
		t.Errorf("of a process without an edge: %v", err)
	}
}

// key is 32 bytes in base64.
const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func TestSettings_ProdNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := parse(t, map[string]string{"ENV": "prod"}, "no such file")
	for _, name := range []string{"DATABASE_URL:", "REDIS_URL:", "PUBLIC_URL:", "OIDC_ISSUER:", "SESSION_KEY:"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("err = %v, want it to name %s", err, name)
		}
	}
	if _, err := parse(t, map[string]string{"ENV": "prod", "ROLES": "storage", "DATABASE_URL": "postgres://h/d"}, "no such file"); err != nil {
		t.Error(err)
	}
}

// command runs the program as main does, without a process.
func command(t *testing.T, env map[string]string, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status = run(ctx, args, env, strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

func TestCommands_Usage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		status int
		out    string
		errs   string
	}{
		{"--help", 0, "Usage: vezechat <command>", ""},
		{"serve --help", 0, "NATS_LISTEN", ""},
		{"replay --help", 0, "Examples:", ""},
		{"version", 0, "VEZEPyChat ", ""},
		{"", 2, "", "expected one of"},
		{"dance", 2, "", "unexpected argument dance"},
		{"serve --fast", 2, "", "unknown flag --fast"},
		{"serve --port=x", 2, "", "PORT: "},
		{"send --room Lobby", 2, "", "--text"},
		{"bench --sockets 0", 2, "", "--sockets: 0"},
		{"migrate --env prod", 1, "", "DATABASE_URL: "},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			status, out, errs := command(t, nil, strings.Fields(tt.args)...)
			if status != tt.status || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) || errs == "" && status != 0 {
				t.Errorf("status %d, out %q, err %q", status, out, errs)
			}
		})
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DATA_DIR": t.TempDir()}
	status, out, errs := command(t, env, "token", "--handle", "pilot")
	if status != 0 || strings.Count(out, ".") != 2 {
		t.Errorf("status %d, out %q, err %q", status, out, errs)
	}
	if status, out, errs := command(t, env, "token", "--handle", "pilot", "--env", "prod"); status != 1 || out != "" || !strings.Contains(errs, "prod") {
		t.Errorf("in prod: status %d, out %q, err %q", status, out, errs)
	}
}

// A hub on somebody's laptop is nobody else's to talk to unless they say so.
func TestSettings_WhereItListens(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, env, host, want string }{
		{"dev", "dev", "", "localhost:8010"},
		{"dev, for all", "dev", "0.0.0.0", "0.0.0.0:8010"},
		{"prod", "prod", "", ":8010"},
		{"prod, one address", "prod", "::1", "[::1]:8010"},
	} {
		s := &settings{ListenHost: tt.host, Port: "8010"}
		s.Env = tt.env
		if got := s.listenAt(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
