#!/bin/sh
# Brings what is missing on this machine, through its package manager, saying so
# first: deploy/deps.sh [go] [cc] [make] [postgres] [redis] [chromium] [tools]
# Go is a precondition, only its version is looked at. Nothing is started, and
# what is there already is left as it is.
set -eu

cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
any() { for f in "$@"; do [ -x "$f" ] && return 0; done; return 1; }

# as_root runs a command as root: as it is, or through sudo.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif has sudo; then
		sudo "$@"
	else
		die "This needs root, and there is no sudo: $*"
	fi
}

check_go() {
	want=$(sed -n 's/^go //p' go.mod)
	has go || die "Go is missing. Install $want or newer from https://go.dev/dl, and have its bin directory in PATH."
	# Go 1.21 and later fetch the release that go.mod asks for, unless told not to.
	version=$(go version) || die "This Go does not build the project, which needs $want or newer: https://go.dev/dl"
	say "$version"
}

# there tells whether a thing is on the machine, in the places where
# internal/devstack and the tests look for it.
there() {
	case $1 in
	cc) has "$(go env CC 2>/dev/null || echo cc)" && [ -e /usr/include/stdlib.h ] || xcode-select -p >/dev/null 2>&1 ;;
	make) has make ;;
	postgres)
		has postgres && has initdb ||
			any /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres /opt/homebrew/opt/postgresql*/bin/postgres \
				/usr/local/opt/postgresql*/bin/postgres /Applications/Postgres.app/Contents/Versions/*/bin/postgres ;;
	redis) has redis-server || any /opt/homebrew/bin/redis-server /usr/local/bin/redis-server ;;
	chromium)
		any "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium && return 0
		# Ubuntu's chromium is a stub that asks for a snap: only one that answers counts.
		for c in headless-shell chromium chromium-browser google-chrome google-chrome-stable; do
			has "$c" && "$c" --version >/dev/null 2>&1 && return 0
		done
		return 1 ;;
	tools) has curl && has ps ;;
	*) die "deps.sh does not know '$1': go, cc, make, postgres, redis, chromium, tools" ;;
	esac
}

# --- Debian, Ubuntu and their kin ---

# apt is silent unless it fails.
apt() {
	out=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null 2>&1) && return 0
	say "$out"
	return 1
}
apt_install() {
	say "apt-get install $*"
	apt install -y --no-install-recommends "$@" || die "apt-get install did not succeed; what it said is above."
}

restore=
# quietly keeps packages from starting what they bring: we start our own servers,
# in their own directories. An administrator's policy that is there stays.
quietly() {
	policy=/usr/sbin/policy-rc.d
	[ -e "$policy" ] && return 0
	trap 'apt_restore' EXIT
	trap 'exit 130' INT TERM
	restore="$restore as_root rm -f $policy;"
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}
apt_restore() {
	eval "$restore"
	restore=
}

# The package postgresql makes a cluster for the whole machine; postgresql-common
# can be told not to, and is told its own mind again afterwards.
apt_postgres() {
	conf=/etc/postgresql-common/createcluster.conf
	apt_install postgresql-common
	if [ -f "$conf" ]; then
		as_root cp -p "$conf" "$conf.vezechat"
		trap 'apt_restore' EXIT
		restore="$restore as_root mv -f $conf.vezechat $conf;"
		printf 'create_main_cluster = false\n' | as_root tee -a "$conf" >/dev/null
	fi
	apt_install postgresql
}

apt_redis() {
	apt_install redis-server
	# Installed for us a moment ago: the next boot need not start it on port 6379.
	if [ -d /run/systemd/system ]; then
		as_root systemctl disable --quiet redis-server >&2 || true
	fi
}

apt_chromium() {
	# shellcheck disable=SC1091
	if [ "$(. /etc/os-release && echo "$ID")" != ubuntu ]; then
		apt_install chromium
		return
	fi
	# Ubuntu has Chromium as a snap only, which sees no temporary files of ours and
	# does not run in containers; Chrome's own package does both.
	[ "$(dpkg --print-architecture)" = amd64 ] ||
		die "The browser tests need Chromium, and Ubuntu has none for this processor but a snap: put a 'chromium' that is none into PATH."
	apt_install ca-certificates curl
	deb=$(mktemp -d)
	say "downloading Google Chrome from dl.google.com"
	curl -fsSL -o "$deb/chrome.deb" https://dl.google.com/linux/direct/google-chrome-stable_current_amd64.deb
	chmod 755 "$deb"
	apt_install "$deb/chrome.deb"
	rm -rf "$deb"
}

bring_apt() {
	say "apt-get update"
	apt update || say "apt-get update did not succeed everywhere; going on with the package lists that are here."
	quietly
	for thing in $missing; do
		case $thing in
		cc) apt_install gcc libc6-dev ;;
		make) apt_install make ;;
		postgres) apt_postgres ;;
		redis) apt_redis ;;
		chromium) apt_chromium ;;
		tools) apt_install curl procps ;;
		esac
	done
	apt_restore
}

# --- macOS ---

bring_brew() {
	for thing in $missing; do
		case $thing in
		cc | make)
			xcode-select --install >/dev/null 2>&1 || true
			die "The command line tools are missing: confirm their installation in the window that has opened, then start again." ;;
		postgres) say "brew install postgresql@17" && brew install --quiet postgresql@17 >&2 ;;
		redis) say "brew install redis" && brew install --quiet redis >&2 ;;
		chromium) say "brew install --cask google-chrome" && brew install --quiet --cask google-chrome >&2 ;;
		esac
	done
}

missing=
for thing in "$@"; do
	if [ "$thing" = go ]; then
		check_go
	elif ! there "$thing"; then
		missing="$missing $thing"
	fi
done
[ -n "$missing" ] || exit 0

say "Missing on this machine:$missing. Installing:"
if has apt-get; then
	bring_apt
elif has brew; then
	bring_brew
else
	die "No apt-get and no brew here. Please install by the means of this system:$missing
  cc        a C compiler with the C library's headers (go test -race needs it)
  make      GNU make
  postgres  the PostgreSQL server, 14 or newer, with initdb
  redis     redis-server, 6.2 or newer
  chromium  Chromium or Google Chrome (for the browser tests)
  tools     curl and ps (for the tests that use the hub from outside)
then start again."
fi
for thing in $missing; do
	there "$thing" || die "$thing was installed and is still not found."
done
say "Installed:$missing."
