#!/bin/sh
# Installs a package into a root of its own, starts what its unit starts, and removes it again. The
# root is this machine's with a layer in memory over it: nothing of the machine is changed.
# usage: unshare --mount tests/image/package.sh FILE.deb
set -eu

package=$(realpath "$1")
tests=$(realpath "$(dirname "$0")")
fail() {
    echo "package.sh: $1" >&2
    exit 1
}

store=/var/lib/private/roundel/store
board=
loops=
clean() {
    [ -z "$board" ] || kill "$board" 2>/dev/null || true
    for loop in $loops; do
        losetup --detach "$loop" 2>/dev/null || true
    done
}
trap clean EXIT
mount --make-rprivate /
top=$(mktemp -d)
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/root"
# Containers often leave manual pages out by a rule of dpkg.
rm -f "$top/root/etc/dpkg/dpkg.cfg.d"/*
mount --rbind /proc "$top/root/proc"
mount --rbind /dev "$top/root/dev"
mount -t tmpfs tmpfs "$top/root/run"
cp "$package" "$top/root/roundel.deb"
inside() {
    chroot "$top/root" "$@"
}

inside dpkg -i /roundel.deb
inside dpkg -V roundel || fail "what is installed is not what the package has"
enabled=$top/root/etc/systemd/system/multi-user.target.wants/roundel.service
[ -L "$enabled" ] || fail "the unit is not enabled"
[ -s "$top/root/usr/share/man/man1/roundel.1.gz" ] || fail "the manual page is missing"
inside systemd-analyze --man=no verify /lib/systemd/system/roundel.service

# As the unit starts it: a user of its own, and the state directory that systemd makes.
unit=$top/root/lib/systemd/system/roundel.service
line=$(sed -n 's/^ExecStart=//p' "$unit")
# Below /var/lib/private, which systemd opens for the unit alone.
install -d -m 755 "$top/root/var/lib/private"
install -d -o nobody -g nogroup -m 700 "$top/root/var/lib/private/roundel"
ln -s private/roundel "$top/root/var/lib/roundel"
start() {
    : >"$top/ready"
    # One word an argument of the unit's line.
    # shellcheck disable=SC2086
    strace -D -f -o "$top/trace" -- \
        chroot "$top/root" setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs $line \
        >"$top/ready" 2>"$top/log" &
    board=$!
    waited=0
    until grep -q '^ready ' "$top/ready"; do
        waited=$((waited + 1))
        [ $waited -lt 100 ] && kill -0 "$board" 2>/dev/null ||
            fail "it did not start: $(cat "$top/log")"
        sleep 0.2
    done
    cat "$top/ready"
}
holds() {
    value=$(inside roundel get packaged)
    [ "$value" = 7 ] || fail "the value came back as '$value'"
}
stop() {
    kill -TERM "$board"
    wait "$board" || fail "it ended with $?: $(cat "$top/log")"
    board=
}
start
inside roundel put packaged 7
holds
stop
. "$tests/package_filter.sh"
. "$tests/package_medium.sh"

inside dpkg -r roundel
[ ! -e "$top/root/usr/bin/roundel" ] || fail "the program is still there"
[ -n "$(ls "$top/root/var/lib/roundel")" ] ||
    fail "removing the package removed the data"
umount "$top/root$store"
inside dpkg -P roundel
[ ! -e "$top/root/var/lib/roundel" ] || fail "purging the package left the data"
[ ! -e "$top/root/etc/roundel/roundel.toml" ] || fail "purging the package left its settings"
left=$(ls "$top/root/etc/systemd/system")
case $left in
*roundel*) fail "purging the package left units: $left" ;;
esac
echo "installed, started, removed and purged"
