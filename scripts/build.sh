#!/bin/sh
# Installs the npm dependencies where they are missing or old, and builds dist/.
set -eu
cd "$(dirname "$0")/.."
if ! node -e '
  const [major, minor] = process.versions.node.split(".").map(Number);
  process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'; then
  echo "nap: needs Node 20.19 or newer, this is $(node --version)" >&2
  exit 1
fi
# npm writes this file when it has finished an installation.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  echo "nap: installing npm dependencies"
  # The lock file decides the versions. npm ci would refuse it where it was written beside a registry
  # that lacks the binaries of other platforms, which are optional.
  if ! npm install --no-save --include=dev --no-audit --no-fund --loglevel=error; then
    echo "nap: the npm dependencies could not be installed; is there a network?" >&2
    exit 1
  fi
  touch node_modules/.package-lock.json
fi
node_modules/.bin/tsc -p scripts/tsconfig.build.json
