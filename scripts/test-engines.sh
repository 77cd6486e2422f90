#!/bin/sh
# Runs the tests that need engines with those of another Debian suite, by default trixie's Docker 26.1.
#
# Usage: test-engines.sh [SUITE] [MOCHA OPTION...]. Its root is made once, see suite-root.sh.
set -eu
cd "$(dirname "$0")/.."
NAP_TEST_SUITE=trixie
case ${1-} in
  -* | "") ;;
  *)
    NAP_TEST_SUITE=$1
    shift
    ;;
esac
export NAP_TEST_SUITE
[ $# != 0 ] || set -- --grep '^engines '
sh scripts/packages.sh debootstrap
sh test/support/engines/suite-root.sh "$NAP_TEST_SUITE" >/dev/null
exec sh scripts/test.sh "$@"
