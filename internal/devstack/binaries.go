package devstack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pgHomes is where packages put PostgreSQL's programs when not in PATH: Debian,
// Red Hat, Homebrew on Apple silicon and Intel, Postgres.app, and the BSDs.
var pgHomes = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/libexec/postgresql*",
	"/usr/local/pgsql/bin",
}

// redisHomes is where redis-server is when not in PATH.
var redisHomes = []string{"/usr/bin", "/usr/local/bin", "/usr/sbin", "/opt/homebrew/bin", "/opt/homebrew/opt/redis/bin", "/usr/local/opt/redis/bin"}

// PostgresHome returns the directory with PostgreSQL's programs, the one in PATH
// before any other, then the newest. major asks for one version; empty: any.
func PostgresHome(ctx context.Context, major string) (string, error) {
	var found []string
	for _, dir := range pgCandidates() {
		v, err := pgMajor(ctx, dir)
		if err != nil {
			continue
		}
		if major == "" || v == major {
			return dir, nil
		}
		found = append(found, v)
	}
	switch {
	case len(found) > 0:
		return "", fmt.Errorf("the data are of PostgreSQL %s, and only %s is installed: install that version, or move the directory away", major, strings.Join(slices.Compact(found), ", "))
	default:
		return "", fmt.Errorf("no PostgreSQL here: `make deps` installs it (Debian, Ubuntu: postgresql; Homebrew: postgresql), or set DATABASE_URL")
	}
}

// RedisServer returns the path of redis-server.
func RedisServer() (string, error) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range redisHomes {
		if path := filepath.Join(dir, "redis-server"); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Redis here: `make deps` installs it (Debian, Ubuntu: redis-server; Homebrew: redis), or set REDIS_URL")
}

func pgCandidates() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	var homes []string
	for _, pattern := range pgHomes {
		more, _ := filepath.Glob(pattern) // the patterns are well formed
		homes = append(homes, more...)
	}
	slices.SortStableFunc(homes, func(a, b string) int { return versionIn(b) - versionIn(a) })
	dirs = append(dirs, homes...)
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return !executable(filepath.Join(dir, "postgres")) || !executable(filepath.Join(dir, "initdb"))
	})
}

var digits = regexp.MustCompile(`[0-9]+`)

// versionIn returns the version in a directory's name, 0 for none.
func versionIn(dir string) int {
	n, _ := strconv.Atoi(digits.FindString(dir))
	return n
}

// pgMajor returns the version as the file PG_VERSION of a cluster spells it.
func pgMajor(ctx context.Context, home string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(home, "postgres"), "--version").Output()
	if err != nil {
		return "", err
	}
	v := digits.FindString(string(out))
	if v == "" {
		return "", fmt.Errorf("%s/postgres tells no version", home)
	}
	return v, nil
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}
