#!/bin/sh
# Runs nap on a fresh machine: npm dependencies, build, an engine where none answers, then the server.
#
# Usage: npm start [-- [--no-install] [options of "nap serve"]]
set -eu
cd "$(dirname "$0")/.."
install=yes
if [ "${1-}" = --no-install ]; then
  install=no
  shift
fi
sh scripts/build.sh

socket=/run/nap/docker.sock
say() { echo "nap: $*"; }
fail() {
  for line; do echo "nap: $line" >&2; done
  exit 1
}

dockerd_pid=
nap_pid=
stop() {
  trap '' INT TERM HUP
  [ -z "$nap_pid" ] || { kill -TERM "$nap_pid" 2>/dev/null && wait "$nap_pid" || true; }
  if [ -n "$dockerd_pid" ]; then
    say "stopping dockerd"
    kill -TERM "$dockerd_pid" 2>/dev/null && wait "$dockerd_pid" || true
  fi
}
trap 'stop; exit 0' INT TERM HUP

docker_answers() {
  node dist/main.js check 2>/dev/null | grep -q '(docker): answers'
}

start_engine() {
  [ -z "${DOCKER_HOST-}" ] || fail "DOCKER_HOST is $DOCKER_HOST, and nothing answers there." \
    "Start that engine, or unset DOCKER_HOST."
  [ -z "${DOCKER_CONTEXT-}" ] && ! grep -qs currentContext "${HOME-/root}/.docker/config.json" ||
    fail "the engine of the docker context does not answer." "Start it, or choose another context."
  advice="Start Docker, or name an engine: npm start -- --config FILE (the README shows one)."
  if pgrep -x dockerd >/dev/null; then
    fail "a dockerd runs on this machine, and nap cannot reach it; a second one would break it." \
      "$(node dist/main.js check 2>&1 | head -n 1)" "$advice"
  fi
  [ $install = yes ] || fail "no container engine answers, and --no-install was said." "$advice"
  [ "$(id -u)" = 0 ] || fail "no container engine answers, and only root can start one." \
    "$advice" "Or run this as root."
  if ! command -v dockerd >/dev/null; then
    command -v apt-get >/dev/null ||
      fail "no container engine answers, and this is not Debian or Ubuntu." "$advice"
    say "no container engine answers; Debian's docker.io will be installed and dockerd started"
    if [ -t 0 ]; then
      printf 'nap: go on? [Y/n] '
      read -r answer
      case $answer in [nN]*) fail "nothing was installed." "$advice" ;; esac
    fi
    sh scripts/packages.sh docker.io iptables ca-certificates apparmor
    # nap starts and stops this engine; the packages would have it started at boot as well.
    if [ -d /run/systemd/system ]; then
      systemctl --quiet disable docker.service docker.socket containerd.service
    fi
  else
    say "no container engine answers; starting dockerd"
  fi
  mkdir -p -m 0750 /run/nap
  mkdir -p /var/lib/nap/docker
  # In a session of its own, so that Ctrl-C reaches this script alone, which stops things in order.
  setsid dockerd -H "unix://$socket" --data-root /var/lib/nap/docker --exec-root /run/nap/docker \
    --pidfile /run/nap/docker.pid --log-level warn >/run/nap/dockerd.log 2>&1 &
  dockerd_pid=$!
  n=0
  export DOCKER_HOST=unix://$socket
  until docker_answers; do
    n=$((n + 1))
    if [ $n -gt 100 ] || ! kill -0 $dockerd_pid 2>/dev/null; then
      tail -n 5 /run/nap/dockerd.log >&2
      stop
      fail "dockerd did not start; its log is /run/nap/dockerd.log"
    fi
    sleep 0.2
  done
  say "dockerd answers at $socket, with its data in /var/lib/nap/docker; it stops with nap"
}

case " $* " in
*" --config"* | *" --help"* | *" -h "* | *" --version"*) ;;
*) docker_answers || start_engine ;;
esac

node dist/main.js serve "$@" &
nap_pid=$!
code=0
wait $nap_pid || code=$?
nap_pid=
stop
exit $code
