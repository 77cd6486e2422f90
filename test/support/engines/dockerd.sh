#!/bin/sh
# Runs a private dockerd and a registry in namespaces of their own for as long as stdin stays open.
#
# Usage: dockerd.sh DIR [ROOT NODE]. DIR is absolute, on a file system that overlay2 takes, and holds
# daemon.json and registry.yml; its last part names the control group. When stdin ends, or when this
# script is killed, everything in the namespaces is killed; then the control groups and DIR are
# removed. With ROOT the programs in the namespaces are those of that root, and NODE.
D=$1 G=${1##*/}
exec 3<&0 9>"$D/lock"
# Whoever holds this lock is alive; the sweep removes directories whose lock is free.
flock -n 9 || exit 1
# dockerd 20.10 leaves files in /run, /opt and /etc/docker whatever it is told, hence the tmpfs. The
# shell stays pid 1 since dockerd does not reap orphaned shims.
setpriv --pdeathsig KILL \
  unshare --fork --kill-child --pid --mount-proc --net --mount --ipc --uts --propagation private \
  sh -c '
    D=$1 G=$2 ROOT=$3 NODE=$4
    if [ -n "$ROOT" ]; then
      mount --bind /usr/local "$ROOT/usr/local" || exit 1
      case $NODE in
        /usr/local/*) ;;
        /usr/*)
          mkdir -p "$ROOT${NODE%/*}" && : >>"$ROOT$NODE" && mount --bind "$NODE" "$ROOT$NODE" || exit 1
          ;;
      esac
      mount --rbind "$ROOT/usr" /usr || exit 1
    fi
    for m in /run /opt /etc/docker; do mount -t tmpfs -o mode=755 tmpfs "$m" || exit 1; done
    ip link set lo up || exit 1
    docker-registry serve "$D/registry.yml" >"$D/registry.log" 2>&1 &
    docker-registry serve "$D/registry-auth.yml" >"$D/registry-auth.log" 2>&1 &
    P=
    trap "kill -TERM \$P" TERM
    while :; do
      dockerd --config-file "$D/daemon.json" --data-root "$D/data" \
        --exec-root "$D/exec" --pidfile "$D/dockerd.pid" --cgroup-parent "/$G" --log-level warn \
        >>"$D/dockerd.log" 2>&1 &
      P=$!
      wait $P
      while kill -0 $P 2>/dev/null; do wait $P; done
      # Whoever kills dockerd makes this file before, and has it started again by removing it.
      [ -e "$D/hold" ] || break
      # Its containerd would else be there, or end, while the next dockerd takes it for its own.
      read -r C <"$D/exec/containerd/containerd.pid"
      kill -KILL "$C" 2>/dev/null
      rm -f "$D/exec/containerd/containerd.pid"
      : >"$D/held"
      while [ -e "$D/hold" ]; do sleep 0.05; done
      rm "$D/held"
    done
  ' init "$D" "$G" "${2-}" "${3-}" </dev/null 3<&- 2>"$D/unshare.log" &
U=$!
echo $U >"$D/unshare.pid"
trap : TERM INT HUP
cat <&3 >/dev/null 9>&- &
K=$!
wait $K
kill $K 2>/dev/null
# unshare blocks SIGTERM, and ends once its child, pid 1 of the namespace, is gone with all others.
read -r C _ </proc/$U/task/$U/children 2>/dev/null
[ -n "$C" ] && kill -KILL "$C"
# A paused container's processes are killed only once they are thawed.
find /sys/fs/cgroup/freezer/"$G" -depth -name freezer.state 2>/dev/null |
  while read -r F; do echo THAWED >"$F"; done
find /sys/fs/cgroup -path "*/$G/*" -name cgroup.freeze 2>/dev/null |
  while read -r F; do echo 0 >"$F"; done
wait $U
n=0
while ls -d /sys/fs/cgroup/*/"$G" >/dev/null 2>&1 && [ $n -lt 100 ]; do
  find /sys/fs/cgroup/*/"$G" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
  n=$((n + 1))
done
rm -rf "$D"
