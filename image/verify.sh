#!/bin/sh
# Checks an image before it is flashed or handed on.
set -eu

usage() {
    cat <<'TEXT'
usage: image/verify.sh FILE.img.zst

Checks the image against SHA256SUMS beside it, its partition table and file systems, the root's
version and board, the list of contents, and an .update beside it: signed by the key in the image,
whole, and of this root.
Prints what it found; exit 1 with the reason for the first thing that is wrong.
TEXT
}

fail() {
    echo "image/verify.sh: $1" >&2
    exit 1
}

case ${1:-} in
--help | -h) usage && exit 0 ;;
'') usage >&2 && exit 2 ;;
esac
image=$1
[ -r "$image" ] || fail "$image cannot be read"
. "$(dirname "$0")/lib/verify_update.sh"
directory=$(dirname "$image")
name=$(basename "$image" .img.zst)
export PATH="$PATH:/usr/sbin:/sbin"
for program in zstd mtype mdir unsquashfs dumpe2fs e2fsck python3; do
    command -v "$program" >/dev/null ||
        fail "$program is missing; it is in mtools, squashfs-tools, e2fsprogs, zstd or python3"
done

[ -r "$directory/SHA256SUMS" ] || fail "$directory/SHA256SUMS is missing; keep it beside the image"
update=$directory/$name.update
for file in "$name.img.zst" "$name.bmap" "$name.sbom.json" "$name.update"; do
    [ "$file" != "$name.update" ] || [ -e "$update" ] || continue
    grep " $file\$" "$directory/SHA256SUMS" | (cd "$directory" && sha256sum --check --status) ||
        fail "$file is not what SHA256SUMS says: copy it anew"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
zstd -q -d --long=27 "$image" -o "$work/card"

# Byte $1 of the card as $2 bytes, least significant first.
number() {
    od -An -v -tu"$2" -j "$1" -N "$2" "$work/card" | tr -d ' '
}
[ "$(number 510 2)" = 43605 ] || fail "there is no partition table"
set -- 12:boot 131:root-a 131:root-b 131:data
at=446
end=1
starts=
for expected; do
    type=$(number $((at + 4)) 1)
    start=$(number $((at + 8)) 4)
    length=$(number $((at + 12)) 4)
    [ "$type" = "${expected%%:*}" ] || fail "partition ${expected#*:} has type $type, not ${expected%%:*}"
    [ "$start" -ge "$end" ] || fail "partition ${expected#*:} begins inside another"
    end=$((start + length))
    starts="$starts $start:$length"
    at=$((at + 16))
done
[ $((end * 512)) -le "$(stat -c %s "$work/card")" ] || fail "the card ends before its last partition"
part() {
    range=$(echo "$starts" | tr ' ' '\n' | grep . | sed -n "${1}p")
    dd if="$work/card" of="$work/$2" bs=512 skip="${range%%:*}" count="${range#*:}" status=none
}
part 1 boot && part 2 root && part 4 data
files=$(mdir -b -i "$work/boot" ::/ | tr -d '\r')
for file in vmlinuz initrd cmdline.txt roundel.toml README.txt; do
    echo "$files" | grep -qx "::/$file" || fail "the boot partition has no $file"
done
signature=$(number 440 4)
mtype -i "$work/boot" ::/cmdline.txt | grep -q "roundel.disk=$(printf %08x "$signature")" ||
    fail "cmdline.txt names another disk than this one"
release=$(unsquashfs -cat "$work/root" etc/roundel-release) || fail "root A is no squashfs"
unsquashfs -ll "$work/root" bin/roundel | grep -q '^-rwx' || fail "root A has no roundel"
case $name in
"roundel-$(echo "$release" | sed -n 's/^BOARD=//p')-$(echo "$release" | sed -n 's/^VERSION=//p')") ;;
*) fail "the root says '$(echo "$release" | head -2 | tr '\n' ' ')', the file's name $name" ;;
esac
e2fsck -f -n "$work/data" >/dev/null 2>&1 || fail "the data partition's file system has errors"
[ "$(dumpe2fs -h "$work/data" 2>/dev/null | sed -n 's/^Filesystem volume name: *//p')" = ROUNDELDATA ] ||
    fail "the data partition has another label than ROUNDELDATA"
python3 - "$directory/$name.sbom.json" <<'PYTHON' || fail "the list of contents is damaged"
import json, sys
parts = json.load(open(sys.argv[1]))["components"]
assert {part["name"] for part in parts} >= {"busybox-static", "udev", "tokio"}
assert all(part["version"] and part["licenses"] for part in parts)
PYTHON
echo "$release"
# A squashfs says how long it is in its superblock.
echo "root: $(od -An -v -tu8 -j 40 -N 8 "$work/root" | tr -d ' ') bytes"
[ ! -e "$update" ] || check_update
echo "$name: checks"
