#!/bin/sh
# An upgrade (deb: $1 is "upgrade", rpm: $1 is 1) goes on with the unit.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now outbox-relay.service
	fi
	;;
esac
