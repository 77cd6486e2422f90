#!/bin/sh
# Installs Debian packages that are not there yet, without starting the services that they bring.
#
# Usage: packages.sh PACKAGE...
set -eu
missing=
for package; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "nap: these packages are missing, and only root can install them:$missing" >&2
  echo "nap: run as root:  apt-get install$missing" >&2
  exit 1
fi
# With this file the packages' scripts start no service.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  # A shell that a signal ends runs no EXIT trap.
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
fi
echo "nap: installing$missing"
log=$(mktemp)
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  $missing; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "nap: the packages could not be installed; is there a network? Then try:" >&2
  echo "nap:   apt-get update && apt-get install$missing" >&2
  rm -f "$log"
  exit 1
fi
rm -f "$log"
