#!/bin/sh
# fresh.sh [COMMAND...]: do the README's two commands work where nothing is
# installed? Makes a minimal Debian 12 in a temporary folder (debootstrap, from
# the mirror that this machine's apt uses, with its sources and proxies), puts
# the last commit there, and runs ./run demo and ./run test, or COMMAND, inside.
# Needs root, debootstrap and git. KEEP=1 leaves the folder and says where it is.
#
# All mounts are made in a mount namespace of our own, so nothing stays mounted
# however this ends.
set -eu

if [ -z "${FRESH_NAMESPACE-}" ]; then
	[ "$(id -u)" -eq 0 ] || { echo "fresh.sh: needs root" >&2; exit 69; }
	command -v debootstrap >/dev/null || { echo "fresh.sh: needs debootstrap" >&2; exit 69; }
	FRESH_NAMESPACE=1 exec unshare --mount --propagation slave "$0" "$@"
fi

release=bookworm
tree=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d "${TMPDIR:-/var/tmp}/mailbraid-fresh.XXXXXX")

clean() {
	cd /
	awk -v root="$root/" 'index($2, root) == 1 { print $2 }' /proc/self/mounts | sort -r |
		while IFS= read -r dir; do umount -l "$dir" || :; done
	if [ -n "${KEEP-}" ]; then
		echo "fresh.sh: left in $root" >&2
	else
		rm -rf --one-file-system "$root"
	fi
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
	sed -n "s/^$release //p" | head -n 1)
[ -n "$mirror" ] || { echo "fresh.sh: apt knows no mirror of $release here" >&2; exit 69; }
chmod 755 "$root" # others than root have to get in
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
export http_proxy="${http_proxy-}" https_proxy="${https_proxy-}"
debootstrap --variant=minbase "$release" "$root" "$mirror" >"$root.log" 2>&1 || {
	tail -n 20 "$root.log" >&2
	exit 1
}
rm -f "$root.log"

# apt inside works as it does here.
rm -f "$root/etc/apt/sources.list"
for file in sources.list sources.list.d keyrings trusted.gpg.d; do
	[ ! -e "/etc/apt/$file" ] || cp -rL "/etc/apt/$file" "$root/etc/apt/"
done
apt-config dump --no-empty Acquire >"$root/etc/apt/apt.conf.d/90host"
for file in /etc/resolv.conf /etc/hosts; do
	[ ! -e "$file" ] || cp -L "$file" "$root$file"
done

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"

mkdir "$root/src"
git -C "$tree" archive HEAD | tar -x -C "$root/src"
[ $# -gt 0 ] || set -- sh -c './run demo && ./run test'
# shellcheck disable=SC2016
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM-dumb}" \
	chroot "$root" sh -c 'cd /src && exec "$@"' sh "$@" </dev/null
