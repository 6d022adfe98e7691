# The card: table, boot partition, both roots, data; then what goes beside it.

# In MiB.
boot_start=4
boot_size=${BOOT_MIB:-124}
root_size=32
data_size=256

make_boot() {
    boot=$work/boot
    mkdir -p "$boot"
    install -m 644 "$kernel_tree/boot/vmlinuz-$kernel" "$boot/vmlinuz"
    install -m 644 "$work/initrd.xz" "$boot/initrd"
    for tree in $DTBS; do
        file=$kernel_tree/usr/lib/linux-image-$kernel/$tree
        [ -e "$file" ] || fail "the kernel $kernel has no device tree $tree"
        install -m 644 "$file" "$boot/"
    done
    command_line="console=$CONSOLE roundel.disk=$signature panic=10 quiet"
    echo "$command_line" >"$boot/cmdline.txt"
    sed "s/@VERSION@/$version/; s/@BOARD@/$board/" board/common/boot/README.txt >"$boot/README.txt"
    {
        [ -z "$hostname" ] || echo "name = \"$hostname\""
        cat board/common/boot/roundel.toml
    } >"$boot/roundel.toml"
    if [ -n "$hostname" ]; then
        sed -i '/^# *name = /d' "$boot/roundel.toml"
    fi
    case $key in
    none) ;;
    new)
        key=$out/roundel-$board-$version.cluster.key
        rm -f "$key"
        # A key is 32 random bytes; the form is that of `roundel key new`.
        (umask 077 && {
            echo "# The key of this cluster: whoever has it is a member. Keep it."
            echo "roundel-key-1 1 $(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
        } >"$key")
        install -m 600 "$key" "$boot/cluster.key"
        echo "image/build.sh: the key is kept in $key" >&2
        ;;
    *) install -m 600 "$key" "$boot/cluster.key" ;;
    esac
    if [ -n "$wifi" ]; then
        # A name in hexadecimal needs no quoting; a password ends at the last quotation mark.
        {
            [ -z "$country" ] || echo "country=$country"
            echo "network={"
            echo "    ssid=$(printf %s "$ssid" | od -An -v -tx1 | tr -d ' \n')"
            echo "    scan_ssid=1"
            printf '    psk="%s"\n' "$psk"
            echo "}"
        } >"$boot/wifi.conf"
    fi
    # What all boards of a family share, then this board's own.
    for overlay in "${directory%/*}/common/boot" "$directory/boot"; do
        [ ! -d "$overlay" ] || cp -R "$overlay/." "$boot/"
    done
    [ -z "${FIRMWARE:-}" ] || take_firmware
}

# The boot firmware of a Raspberry Pi.
take_firmware() {
    from=$work/packages/raspi-firmware/usr/lib/raspi-firmware
    for file in $FIRMWARE_FILES; do
        install -m 644 "$from/$file" "$boot/"
    done
    arm64=0
    [ "$ARCH" = arm64 ] && arm64=1
    sed -i "s/@ARM64@/$arm64/" "$boot/config.txt"
}

# Four bytes, least significant first, as printf takes them.
bytes4() {
    for shift in 0 8 16 24; do
        printf '\\%03o' $(($1 >> shift & 255))
    done
}

# One entry of the table: active or not, type, start and length in MiB.
entry() {
    # shellcheck disable=SC2059
    printf "\\$1\376\377\377\\$2\376\377\377$(bytes4 $(($3 * 2048)))$(bytes4 $(($4 * 2048)))"
}

make_card() {
    # Another board, version or commit is another card.
    signature=$(echo "$board $version $(git rev-parse HEAD)" | sha256sum | cut -c1-8)
    make_boot
    find "$boot" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

    card=$work/card.img
    rm -f "$card"
    a=$((boot_start + boot_size))
    b=$((a + root_size))
    data=$((b + root_size))
    truncate -s "$((data + data_size))M" "$card"
    {
        head -c 440 /dev/zero
        # shellcheck disable=SC2059
        printf "$(bytes4 $((0x$signature)))\0\0"
        entry 200 014 $boot_start "$boot_size"
        entry 000 203 $a $root_size
        entry 000 203 $b $root_size
        entry 000 203 $data $data_size
        printf '\125\252'
    } | dd of="$card" conv=notrunc status=none

    fat=$work/boot.fat
    rm -f "$fat"
    truncate -s "${boot_size}M" "$fat"
    mkfs.vfat -F 32 -n ROUNDELBOOT -i "$signature" --invariant "$fat" >/dev/null
    (cd "$boot" && find . -mindepth 1 -maxdepth 1 | sort | while read -r file; do
        mcopy -s -m -i "$top/$fat" "$file" ::/
    done)
    [ "$(stat -c %s "$work/root.squashfs")" -le $((root_size * 1048576 - 4096)) ] ||
        fail "the root is larger than its $root_size MiB slot, of which an update's head takes 4 KiB"
    ext4=$work/data.ext4
    rm -f "$ext4"
    truncate -s "${data_size}M" "$ext4"
    uuid=$(echo "$signature data" | sha256sum |
        sed 's/^\(.\{8\}\)\(.\{4\}\).\(.\{3\}\).\(.\{3\}\)\(.\{12\}\).*/\1-\2-4\3-8\4-\5/')
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -b 4096 -J size=16 -m 1 -L ROUNDELDATA \
        -U "$uuid" -E "hash_seed=$uuid,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0" \
        -O ^metadata_csum_seed,^orphan_file "$ext4" 2>/dev/null ||
        E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -b 4096 -J size=16 -m 1 \
            -L ROUNDELDATA -U "$uuid" \
            -E "hash_seed=$uuid,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0" "$ext4"
    put() {
        dd if="$1" of="$card" bs=1M seek="$2" conv=notrunc,sparse status=none
    }
    put "$fat" $boot_start
    put "$work/root.squashfs" $a
    put "$ext4" $data

    name=roundel-$board-$version
    bmaptool -q create -o "$out/$name.bmap" "$card"
    # Not a time nor a path of this build.
    sed -i 's/^<!--.*generated.*$//' "$out/$name.bmap"
    zstd -q -19 -T0 --long=27 -f "$card" -o "$out/$name.img.zst"
    case $BINARY in
    aarch64) target=aarch64-unknown-linux-musl ;;
    armv7) target=armv7-unknown-linux-musleabihf ;;
    *) fail "the board's BINARY is aarch64 or armv7, not '$BINARY'" ;;
    esac
    python3 image/lib/sbom.py ${lagging:+--lagging-archive} "$work/packages.list" "$work/packages" \
        $target "$board" "$version" "$SOURCE_DATE_EPOCH" >"$out/$name.sbom.json"
    (cd "$out" && sha256sum "$name.img.zst" "$name.bmap" "$name.sbom.json" ${sign:+"$name.update"}) \
        >"$work/sums"
    sums=$out/SHA256SUMS
    touch "$sums"
    grep -v " $name\." "$sums" >"$work/others" || true
    sort -k2 "$work/others" "$work/sums" >"$sums"
}
