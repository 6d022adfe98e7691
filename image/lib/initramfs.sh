# The initramfs: BusyBox, the modules that reach the disk, and `init`, which picks the root.

make_initramfs() {
    initramfs=$work/initramfs
    mkdir -p "$initramfs"
    (cd "$initramfs" && mkdir -p bin proc sys dev mnt root)
    install -m 755 "$work/packages/busybox-static/bin/busybox" "$initramfs/bin/busybox"
    # shellcheck disable=SC2086
    take_modules "$initramfs" squashfs $MODULES_BOOT sd_mod
    echo "$MODULES_BOOT sd_mod squashfs" | tr ' ' '\n' | grep . >"$initramfs/modules"
    install -m 755 board/common/initramfs/init "$initramfs/init"
    install -m 755 board/common/root/lib/roundel/slot "$initramfs/bin/slot"
    find "$initramfs" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$initramfs" && find . | sort | cpio -o -H newc --reproducible --quiet -R 0:0) |
        xz --check=crc32 --lzma2=dict=1MiB -T1 >"$work/initrd.xz"
}
