#!/bin/sh
# Makes the user and the keys, and restarts a relay that runs. dpkg calls it with
# "configure" and the version before, rpm with the number of versions installed.
set -e

if ! getent passwd lectern >/dev/null; then
	if command -v systemd-sysusers >/dev/null; then
		systemd-sysusers lectern.conf
	else
		useradd --system --user-group --home-dir /var/lib/lectern --no-create-home --shell /usr/sbin/nologin lectern
	fi
fi

for name in create api; do
	file=/etc/lectern/$name.key
	if [ ! -e "$file" ]; then
		key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
		if [ ${#key} != 32 ]; then
			echo "lectern: cannot make $file" >&2
			exit 1
		fi
		(umask 077 && echo "$key" >"$file")
	fi
done

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart lectern.service
fi
if [ "$1" = 1 ] || { [ "$1" = configure ] && [ -z "$2" ]; }; then
	echo "lectern: edit /etc/lectern/lectern.toml, then: systemctl enable --now lectern.socket lectern.service"
fi
