#!/bin/sh
# Removes what private engines left below DIR that were killed together with their script.
#
# Usage: sweep.sh DIR.
for D in "$1"/nap-test-*; do
  [ -d "$D" ] || continue
  # One that has no lock yet is being made, unless it is old.
  [ -e "$D/lock" ] || [ -n "$(find "$D" -maxdepth 0 -mmin +5)" ] || continue
  flock -n "$D/lock" true || continue
  n=0
  while ls -d /sys/fs/cgroup/*/"${D##*/}" >/dev/null 2>&1 && [ $n -lt 40 ]; do
    find /sys/fs/cgroup/*/"${D##*/}" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    n=$((n + 1))
  done
  rm -rf "$D"
done
