#!/usr/bin/env bash
# Fetches the WebSocket clients that the tests run against the relay: Python's
# websockets and Chromium as Debian packages, Node's ws by npm into this folder. The
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

apt_install() { # PACKAGE
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends "$1"
}

have_chromium() { command -v chromium >/dev/null; }

# The proxies of docs/proxies.md. nginx may be where only root looks for programs.
have_proxy() { # PROGRAM
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]
}

install_debian() { # PACKAGE HAVE...
	local package=$1
	shift
	if ! command -v apt-get >/dev/null; then
		not_installed "$package" "this system has no apt-get"
	elif [ "$(id -u)" != 0 ]; then
		not_installed "$package" "only root may run apt-get install"
	elif ! apt_install "$package" 2>/dev/null && ! { apt-get update -q && apt_install "$package"; }; then
		not_installed "$package" "apt-get failed, see above"
	elif ! "$@"; then
		not_installed "$package" "it is installed, but does not work"
	fi
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

install_proxies() {
	if ! have_proxy nginx || ! have_proxy caddy; then
		forbid_services
	fi
	have_proxy nginx || install_debian nginx-light have_proxy nginx
	have_proxy caddy || install_debian caddy have_proxy caddy
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

have_websockets || install_debian python3-websockets have_websockets
have_chromium || install_debian chromium have_chromium
install_proxies
have_ws || install_ws
have_promtool || install_promtool

if [ "$missing" = 1 ] && [ "${CI:-}" = true ]; then
	echo "CI=true: nothing may be missing." >&2
	exit 1
fi
