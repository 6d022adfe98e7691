# The signing key and the update's file: a signed head, and the root (src/wire/update.rs).

# The key that signs: a new one is kept beside the image and never replaced, since boards that were
# flashed with it take updates of no other.
signing_key() {
    if [ "$sign" = new ]; then
        sign=$out/roundel-$board.signing.key
        [ ! -e "$sign" ] || fail "$sign is there already: sign with it (--sign $sign), or move it away"
        (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
            -out "$sign" 2>/dev/null)
        echo "image/build.sh: the signing key is kept in $sign; who has it makes your boards' updates" >&2
    fi
    mkdir -p "$root/etc/roundel"
    openssl pkey -in "$sign" -pubout -out "$root/etc/roundel/update.pub" 2>/dev/null ||
        fail "$sign is no private key in PEM"
    [ "$(openssl pkey -in "$sign" -pubout -outform DER | wc -c)" = 91 ] ||
        fail "$sign is no key of the curve P-256; --sign new makes one"
}

make_update() {
    update=$out/roundel-$board-$version.update
    format=$(sed -n 's/^pub const STORE_FORMAT: u32 = \([0-9]*\);/\1/p' src/runtime/store/format.rs)
    {
        echo "roundel-update 1"
        echo "board=$board"
        echo "version=$version"
        echo "commit=$(git rev-parse HEAD)"
        echo "built=$SOURCE_DATE_EPOCH"
        echo "kernel=$kernel"
        echo "store=$format-$format"
        echo "length=$(stat -c %s "$work/root.squashfs")"
        echo "sha256=$(sha256sum <"$work/root.squashfs" | cut -d' ' -f1)"
    } >"$work/head"
    signature=$(openssl dgst -sha256 -sign "$sign" "$work/head" | od -An -v -tx1 | tr -d ' \n')
    echo "signature=$signature" >>"$work/head"
    truncate -s 4096 "$work/head"
    cat "$work/head" "$work/root.squashfs" >"$update"
}
