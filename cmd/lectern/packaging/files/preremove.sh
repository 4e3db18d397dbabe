#!/bin/sh
# Stops the service when the package goes, but not when another version takes its place.
# dpkg calls it with "remove" or "upgrade", rpm with the number of versions that stay.
set -e

if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl disable --now lectern.socket lectern.service
	fi
fi
