#!/bin/sh
# "apt purge" deletes the keys and the rooms. The user stays, as its files may.
set -e

if [ "$1" = purge ]; then
	rm -rf /etc/lectern /var/lib/lectern
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
