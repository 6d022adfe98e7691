# The update beside an image: a signed head, and the root that the image has (src/wire/update.rs). The
# variables are those of verify.sh.
# shellcheck shell=sh disable=SC2154

# A field of the update's head, or of a release file: $1 of $2.
field() {
    sed -n "s/^$1=//p" "$2" | head -n 1
}

# Checks $update against the release and the root in $work; prints what it is.
check_update() {
    command -v openssl >/dev/null || fail "openssl is missing; it is in the package openssl"
    unsquashfs -cat "$work/root" etc/roundel/update.pub >"$work/update.pub" 2>/dev/null ||
        fail "$name.update is there, but the image takes no updates: it was built without --sign"
    head -c 4096 "$update" | tr -d '\000' >"$work/head"
    [ "$(head -n 1 "$work/head")" = "roundel-update 1" ] || fail "$name.update is no update file"
    # What is signed is all before the signature's line; that is in hexadecimal.
    sed '/^signature=/,$d' "$work/head" >"$work/signed"
    python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))' \
        "$(field signature "$work/head")" >"$work/signature" 2>/dev/null ||
        fail "the signature of $name.update cannot be read"
    openssl dgst -sha256 -verify "$work/update.pub" -signature "$work/signature" "$work/signed" \
        >/dev/null 2>&1 || fail "$name.update is not signed with the key that the image has"
    echo "$release" >"$work/release"
    for pair in board:BOARD version:VERSION commit:COMMIT built:BUILT kernel:KERNEL; do
        of_update=$(field "${pair%%:*}" "$work/head")
        of_image=$(field "${pair#*:}" "$work/release")
        [ "$of_update" = "$of_image" ] ||
            fail "$name.update has the ${pair%%:*} '$of_update', the image '$of_image'"
    done
    length=$(field length "$work/head")
    [ "$(stat -c %s "$update")" = $((length + 4096)) ] ||
        fail "$name.update is not as long as its head says: copy it anew"
    tail -c +4097 "$update" >"$work/update.root"
    [ "$(sha256sum <"$work/update.root" | cut -d' ' -f1)" = "$(field sha256 "$work/head")" ] ||
        fail "the root in $name.update is not what its head says: copy it anew"
    cmp -s -n "$length" "$work/update.root" "$work/root" ||
        fail "the root in $name.update is another than the image's"
    echo "update: signed with the image's key, $length bytes"
}
