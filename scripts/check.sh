#!/bin/sh
# Checks everything: the contract, the generated code, types, lint, format, unused code, tests.
set -eu
cd "$(dirname "$0")/.."
sh scripts/build.sh
PATH="$PWD/node_modules/.bin:$PATH"
step() {
  echo "== $*"
  "$@"
}
step buf lint
step buf format --diff --exit-code
step buf breaking --against proto/baseline.binpb
before=$(find gen -type f -exec sha256sum {} + | sort)
step buf generate
[ "$before" = "$(find gen -type f -exec sha256sum {} + | sort)" ] || {
  echo "gen/ was not what the contract generates; it is now" >&2
  exit 1
}
step tsc
step oxlint --type-aware
step prettier --check --log-level warn .
step knip
step tsx scripts/support.ts --check
step tsx scripts/errors.ts --check
step sh scripts/test.sh
