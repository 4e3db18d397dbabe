#!/usr/bin/env bash
# Fetches the clients that the tests run against the relay: Python's websockets and
# Chromium as Debian packages, Node's ws and eventsource by npm into this folder. The
# proxies that the tests put in front of the relay are Debian packages, too, and so is
# promtool. It says what it may or can not install here, and the tests then skip what
# needs it. With CI=true that is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

missing=0
not_installed() { # WHAT WHY
	echo "NOT INSTALLED: $1: $2. The tests that need it will be skipped."
	missing=1
}

# The Debian package is for the system's own python3, which need not be the
# first one in PATH.
have_websockets() {
	local python
	for python in /usr/bin/python3 python3; do
		if "$python" -c 'import websockets' 2>/dev/null; then return 0; fi
	done
	return 1
}

apt_install() { # PACKAGE...
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends "$@"
}

have_chromium() { command -v chromium >/dev/null; }

# The proxies of docs/proxies.md. Some are where only root looks for programs.
have_proxy() { # PROGRAM
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]
}

# Installs all packages at once, and one by one if that fails.
install_debian() { # PACKAGE...
	local package why="apt-get could not install it, see above"
	if ! command -v apt-get >/dev/null; then
		why="this system has no apt-get"
	elif [ "$(id -u)" != 0 ]; then
		why="only root may run apt-get install"
	elif ! apt_install "$@" 2>/dev/null && ! { apt-get update -q && apt_install "$@"; }; then
		for package; do apt_install "$package" || true; done
	fi
	for package in $(missing_packages); do not_installed "$package" "$why"; done
}

# While a package is installed, it may not start the service that is in it.
forbid_services() {
	local policy=/usr/sbin/policy-rc.d
	if [ "$(id -u)" = 0 ] && [ ! -e "$policy" ]; then
		trap "rm -f $policy" EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
}

# The Debian packages that are missing.
missing_packages() {
	have_websockets || echo python3-websockets
	have_chromium || echo chromium
	have_proxy nginx || echo nginx-light
	have_proxy caddy || echo caddy
	have_proxy squid || echo squid
}

# npm leaves its own copy of the lock in node_modules when it has finished.
have_ws() {
	[ -e node_modules/ws/package.json ] && [ node_modules/.package-lock.json -nt package-lock.json ]
}

install_ws() {
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		not_installed "Node's ws" "this system has no node, or no npm"
	elif ! npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier --loglevel=error; then
		not_installed "Node's ws" "npm failed, see above"
	fi
	return "$missing"
}

# promtool checks docs/monitoring. Its Debian package is large and would start a
# service, so promtool alone is taken out of it.
have_promtool() { command -v promtool >/dev/null || [ -x promtool ]; }

install_promtool() {
	local folder
	if ! command -v apt-get >/dev/null; then
		not_installed promtool "this system has no apt-get"
		return
	fi
	folder=$(mktemp -d)
	download() { (cd "$folder" && apt-get download -q prometheus); }
	if { download 2>/dev/null || { apt-get update -q && download; }; } &&
		dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool; then
		mv "$folder/usr/bin/promtool" .
	else
		not_installed promtool "its package could not be fetched, see above"
	fi
	rm -rf "$folder"
}

have_ws || install_ws &
fetches_ws=$!

packages=$(missing_packages)
if [ -n "$packages" ]; then
	forbid_services
	# shellcheck disable=SC2086 # one word is one package
	install_debian $packages
fi
have_promtool || install_promtool
wait "$fetches_ws" || missing=1

if [ "$missing" = 1 ] && [ "${CI:-}" = true ]; then
	echo "CI=true: nothing may be missing." >&2
	exit 1
fi
