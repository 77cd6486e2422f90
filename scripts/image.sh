#!/bin/sh
# Writes the build context of nap's container image to the standard output, as a tar archive: the
# Containerfile of deploy/, and below root/ Node with its libraries and nap with what it depends on.
set -eu
cd "$(dirname "$0")/.."
sh scripts/build.sh >&2
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/root
install -d "$root/opt/nap" "$root/usr/bin" "$root/run" "$root/etc" "$root/tmp" "$root/var/tmp"
chmod 1777 "$root/tmp" "$root/var/tmp"
node=$(node -p process.execPath)
cp "$node" "$root/usr/bin/node"
# Each library where the dynamic linker looks for it; links are followed.
ldd "$node" | grep -o '/[^ ]*' | while read -r library; do
  install -D "$library" "$root$library"
done
printf 'root:x:0:0:root:/:/usr/bin/node\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
cp -r dist gen package.json LICENSE "$root/opt/nap"
npm ls --omit=dev --all --parseable 2>/dev/null | tail -n +2 | while read -r package; do
  target=$root/opt/nap/${package#"$PWD"/}
  mkdir -p "$(dirname "$target")"
  # A package's own dependencies that are nested in it come with lines of their own.
  [ -d "$target" ] || cp -r "$package" "$target"
done
cp deploy/Containerfile "$stage/Dockerfile"
tar -C "$stage" -cf - Dockerfile root
