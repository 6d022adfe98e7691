#!/bin/sh
# Makes the Debian package of one architecture, for those who run Raspberry Pi OS or Debian.
set -eu

usage() {
    cat <<'TEXT'
usage: image/deb.sh ARCHITECTURE [--binary FILE] [--out DIR]

Makes DIR/roundel_VERSION_ARCHITECTURE.deb: the static binary, its manual pages and completions,
the systemd units, and the rules of udev in udev/package.

  ARCHITECTURE  arm64, armhf or amd64
  --binary      a static binary made before; without it, image/cross.sh makes it
  --out         where to (default: target/image)
TEXT
}

fail() {
    echo "image/deb.sh: $1" >&2
    exit "${2:-1}"
}

cd "$(dirname "$0")/.."
architecture=
binary=
out=target/image
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage && exit 0 ;;
    --binary | --out)
        [ $# -ge 2 ] || fail "$1 takes a value; see image/deb.sh --help" 2
        [ "$1" = --out ] && out=$2 || binary=$2
        shift
        ;;
    arm64 | armhf | amd64) architecture=$1 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done
[ -n "$architecture" ] || { usage >&2 && exit 2; }
command -v dpkg-deb >/dev/null || fail "dpkg-deb is missing; it is in the package dpkg"
[ -n "$binary" ] || binary=$(image/cross.sh "$architecture")
[ -r "$binary" ] || fail "the binary $binary cannot be read"

# Runs the binary here, whatever it was built for.
case $architecture in
"$(dpkg --print-architecture)") emulator= ;;
arm64) emulator=qemu-aarch64 ;;
armhf) emulator=qemu-arm ;;
amd64) emulator=qemu-x86_64 ;;
esac
[ -z "$emulator" ] || command -v $emulator >/dev/null ||
    fail "$emulator is missing; it is in the package qemu-user"
run() {
    $emulator "$binary" "$@"
}

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C
umask 022
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
tree=target/image/work/deb-$architecture
rm -rf "$tree"
install -D -m 755 "$binary" "$tree/usr/bin/roundel"
# The program itself has its manual pages and completions.
pages=$tree/usr/share/man/man1
mkdir -p "$pages" "$tree/usr/share/bash-completion/completions" "$tree/usr/share/zsh/vendor-completions" \
    "$tree/usr/share/fish/vendor_completions.d"
run man --out "$pages" 2>/dev/null
gzip -9 -n "$pages"/*
run completions bash >"$tree/usr/share/bash-completion/completions/roundel"
run completions zsh >"$tree/usr/share/zsh/vendor-completions/_roundel"
run completions fish >"$tree/usr/share/fish/vendor_completions.d/roundel.fish"
units=$tree/lib/systemd/system
install -D -m 644 board/common/systemd/roundel.service "$units/roundel.service"
install -m 644 image/deb/roundel-medium@.service "$units/"
install -D -m 755 image/deb/medium "$tree/usr/lib/roundel/medium"
mkdir -p "$tree/lib/udev/rules.d"
install -m 644 udev/package/*.rules "$tree/lib/udev/rules.d/"
for file in README.md CHANGELOG.md SECURITY.md; do
    install -D -m 644 "$file" "$tree/usr/share/doc/roundel/$file"
done
install -D -m 644 board/common/boot/roundel.toml "$tree/etc/roundel/roundel.toml"
mkdir -p "$tree/DEBIAN"
echo /etc/roundel/roundel.toml >"$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "image/deb/$script" "$tree/DEBIAN/$script"
done
cat >"$tree/DEBIAN/control" <<CONTROL
Package: roundel
Version: $version
Architecture: $architecture
Maintainer: the roundel developers <roundel@localhost>
Installed-Size: $(du -sk "$tree" | cut -f1)
Section: net
Priority: optional
Suggests: iw
Description: zero-configuration replicated store for the boards of a LAN
 Boards that run roundel find each other by SSDP, join one ring and keep what
 they are given, replicated. Any UPnP control point, curl or a browser can ask
 them.
CONTROL
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$out"
package=$out/roundel_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -b "$tree" "$package" >/dev/null
echo "$package"
