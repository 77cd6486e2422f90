#!/bin/sh
# Makes the root of another Debian suite, with the engines that it has, and prints where it is.
#
# Usage: suite-root.sh SUITE. It is made once, below NAP_TEST_CACHE or /var/cache/nap-test, by
# debootstrap from the mirror that apt uses here.
set -eu
suite=$1
cache=${NAP_TEST_CACHE:-/var/cache/nap-test}
root=$cache/$suite
if [ ! -d "$root" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/$suite.lock"
  flock 9
fi
if [ ! -d "$root" ]; then
  # Security updates are in an archive of their own, which has no whole suite.
  mirror=$(apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    sed -n 's,^Debian/Debian ,,p' | head -n 1)
  if [ -z "$mirror" ]; then
    echo "nap: apt knows no mirror of Debian here; try apt-get update" >&2
    exit 1
  fi
  echo "nap: making a root of $suite in $root" >&2
  rm -rf "$root.new"
  packages=docker.io,docker-registry,runc,conmon,umoci,busybox-static,iptables,iproute2,procps
  packages=$packages,openssl,ca-certificates,e2fsprogs
  # What debootstrap mounts goes with the namespace, however it ends.
  if ! unshare --mount --propagation private debootstrap --variant=minbase \
    --include="$packages" "$suite" "$root.new" "$mirror" >"$cache/$suite.log" 2>&1; then
    tail -n 20 "$cache/$suite.log" >&2
    rm -rf "$root.new"
    exit 1
  fi
  rm -rf "$root.new/var/cache/apt" "$root.new/var/lib/apt/lists"
  mv "$root.new" "$root"
fi
echo "$root"
