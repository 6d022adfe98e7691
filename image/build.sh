#!/bin/sh
# The only way to an image: what an owner flashes.
set -eu

usage() {
    cat <<'TEXT'
usage: image/build.sh BOARD [--key new|FILE|none] [--hostname H] [--wifi SSID:PSK-FILE]
                      [--country CC] [--sign new|FILE] [--binary FILE] [--out DIR]
                      [--lagging-archive]

Makes DIR/roundel-BOARD-VERSION.img.zst, its .bmap, its list of contents (.sbom.json) and SHA256SUMS;
with --sign also the .update for `roundel update`.

  BOARD       a folder of board/ with a meta file, like raspberrypi/rpi4 or rpi4
  --key       the cluster's key on the boot partition: 'new' makes one and keeps it beside the image,
              FILE is a cluster.key made before; 'none' (default): the boards pair by themselves
  --hostname  the board's name; without it, each board makes one from its hardware address
  --wifi      the network's name, and a file whose first line is its password
  --country   where the board is, like DE: its rules of radio; without it those that hold everywhere
  --sign      the private key that signs updates: boards with this image take updates signed with it,
              and no others; 'new' makes one and keeps it beside the image. Without it the image
              takes no updates
  --binary    a static binary made before; without it, image/cross.sh makes it
  --out       where to (default: target/image)
  --lagging-archive
              take packages from a mirror that is behind: an index past its date, and no security suite
              where its index is damaged. Signatures and hashes are checked all the same; what the
              image misses may have been mended since. The list of contents says so

Needs root for nothing but missing packages. Two builds of one commit from the same packages are the
same to the bit, but for the keys of '--key new' and '--sign new', and signatures.
TEXT
    echo
    boards
}

boards() {
    echo "boards:"
    for meta in board/*/*/meta; do
        directory=${meta%/meta}
        printf '  %-24s %s\n' "${directory#board/}" "$(sed -n 's/^TITLE="\(.*\)"/\1/p' "$meta")"
    done
}

fail() {
    echo "image/build.sh: $1" >&2
    exit "${2:-1}"
}

cd "$(dirname "$0")/.."
top=$PWD
board=
key=none
hostname=
wifi=
country=
sign=
binary=
out=target/image
lagging=
value() {
    [ $# -ge 2 ] || fail "$1 takes a value; see image/build.sh --help" 2
}
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage && exit 0 ;;
    --key) value "$@" && key=$2 && shift ;;
    --hostname) value "$@" && hostname=$2 && shift ;;
    --wifi) value "$@" && wifi=$2 && shift ;;
    --country) value "$@" && country=$2 && shift ;;
    --sign) value "$@" && sign=$2 && shift ;;
    --binary) value "$@" && binary=$2 && shift ;;
    --out) value "$@" && out=$2 && shift ;;
    --lagging-archive) lagging=yes ;;
    -*) fail "there is no option $1; see image/build.sh --help" 2 ;;
    *)
        [ -z "$board" ] || fail "one board at a time: '$board' or '$1'?" 2
        board=$1
        ;;
    esac
    shift
done
[ -n "$board" ] || { usage >&2 && exit 2; }
directory=
for meta in board/*/*/meta; do
    candidate=${meta%/meta}
    case $board in
    "${candidate#board/}" | "${candidate##*/}") directory=$candidate ;;
    esac
done
if [ -z "$directory" ]; then
    echo "image/build.sh: there is no board '$board'" >&2
    boards >&2
    exit 2
fi
board=${directory##*/}
case $hostname in
*[!a-zA-Z0-9-]* | -* | *-) fail "a host name has letters, digits and inner '-': not '$hostname'" 2 ;;
esac
[ ${#hostname} -le 63 ] || fail "a host name has at most 63 letters" 2
case $key in
new | none) ;;
*) [ -r "$key" ] || fail "the key $key cannot be read; --key takes new, none or a file" 2 ;;
esac
case $sign in
'' | new) ;;
*) [ -r "$sign" ] || fail "the signing key $sign cannot be read; --sign takes new or a file" 2 ;;
esac
if [ -n "$wifi" ]; then
    case $wifi in
    *:*) ;;
    *) fail "--wifi takes SSID:PSK-FILE, the network's name and the file with its password" 2 ;;
    esac
    [ -r "${wifi#*:}" ] || fail "the password file ${wifi#*:} cannot be read" 2
    ssid=${wifi%%:*}
    psk=$(head -n 1 "${wifi#*:}")
    LC_ALL=C
    [ ${#ssid} -ge 1 ] && [ ${#ssid} -le 32 ] ||
        fail "the name of a wireless network has 1 to 32 bytes, not ${#ssid}" 2
    case $psk in
    *[!\ -~]*) fail "the password in ${wifi#*:} has other characters than printable ASCII" 2 ;;
    esac
    [ ${#psk} -ge 8 ] && [ ${#psk} -le 63 ] ||
        fail "the password of a wireless network has 8 to 63 characters; that in ${wifi#*:} has ${#psk}" 2
    grep -q '^WIFI_MODULES=' "$directory/meta" ||
        fail "the board $board has no wireless network: leave --wifi out" 2
fi
case $country in
'' | [A-Z][A-Z]) ;;
*) fail "--country takes two capital letters, like DE; not '$country'" 2 ;;
esac
[ -z "$country" ] || [ -n "$wifi" ] || fail "--country is for --wifi" 2

# Each missing program with the package that has it.
missing=
while read -r program package; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null ||
        missing="$missing
  $program: package $package"
done <<'LIST'
apt-get apt
dpkg-deb dpkg
depmod kmod
mksquashfs squashfs-tools
mkfs.vfat dosfstools
mcopy mtools
mke2fs e2fsprogs
cpio cpio
zstd zstd
xz xz-utils
bmaptool bmap-tools
python3 python3
cargo cargo
openssl openssl
LIST
[ -z "$missing" ] || fail "programs are missing; install what has them:$missing"
export PATH="$PATH:/usr/sbin:/sbin"

# What depends on nothing but the commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C
umask 022

# shellcheck source=/dev/null
. "$directory/meta"
if [ -z "$binary" ]; then
    binary=$(image/cross.sh "$BINARY")
fi
[ -r "$binary" ] || fail "the binary $binary cannot be read"

work=target/image/work/$board
rm -rf "$work"
mkdir -p "$work" "$out"

. image/lib/packages.sh
. image/lib/root.sh
. image/lib/initramfs.sh
. image/lib/card.sh
. image/lib/update.sh

fetch_packages
make_root
make_initramfs
[ -z "$sign" ] || make_update
make_card
echo "$out/roundel-$board-$version.img.zst"
