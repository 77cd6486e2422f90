#!/bin/sh
# Runs the tests, after all the set-up that they need. Arguments go to mocha, which runs all files where
# none is named; with --fuzz first, the long campaign of random requests runs instead, with --soak the
# long one of ordinary work, and with --bench the engines of the tests start and stay.
#
# The tests run a private dockerd in namespaces of its own; no other engine is touched.
set -eu
cd "$(dirname "$0")/.."
if [ "$(uname)" != Linux ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "nap: the tests start engines of their own, and need root on Debian or Ubuntu for it" >&2
  exit 1
fi
sh scripts/build.sh
sh scripts/packages.sh docker.io docker-registry systemd runc conmon umoci busybox-static iptables iproute2 openssl perl-base \
  util-linux protobuf-compiler libprotobuf-dev protoc-gen-go protoc-gen-go-grpc
if [ "${1-}" = --fuzz ]; then
  shift
  exec node_modules/.bin/tsx test/fuzz/long.ts "$@"
fi
if [ "${1-}" = --soak ]; then
  shift
  exec node_modules/.bin/tsx test/soak/long.ts "$@"
fi
if [ "${1-}" = --bench ]; then
  exec node --import tsx test/support/engines/bench-up.ts
fi
for argument; do
  case $argument in
    *.test.ts) exec node_modules/.bin/mocha "$@" ;;
  esac
done
exec node_modules/.bin/mocha "$@" 'src/**/*.test.ts' 'test/**/*.test.ts'
