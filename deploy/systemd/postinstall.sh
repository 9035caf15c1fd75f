#!/bin/sh
# Makes the user, and a place for secrets that only it and root can read.
set -e
if [ -d /run/systemd/system ] || command -v systemd-sysusers >/dev/null; then
	systemd-sysusers outbox-relay.conf
	chgrp outbox-relay /etc/outbox-relay
	chmod 0750 /etc/outbox-relay
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# Only one that was running: a new installation has no URLs yet.
	systemctl try-restart outbox-relay.service
fi
