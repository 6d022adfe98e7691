# The root: BusyBox, udevd, the tools of ext4, the modules of the board and roundel; one squashfs.

# Programs of packages that the root has; their libraries are found by what they name.
root_programs="udev:bin/udevadm e2fsprogs:sbin/e2fsck e2fsprogs:sbin/mke2fs e2fsprogs:sbin/resize2fs"

# Copies a package's file, following what it links to.
take() {
    install -D -m "${3:-755}" "$work/packages/$1/$2" "$root/$2"
}

# The library a program names, from whatever package has it.
take_libraries() {
    todo=$1
    while [ -n "$todo" ]; do
        next=
        for file in $todo; do
            for library in $(readelf -d "$file" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
                [ -e "$root/lib/$library" ] && continue
                found=$(find "$work/packages" -name "$library" -not -path '*/debug/*' | sort | head -1)
                [ -n "$found" ] || fail "$file needs $library, and no package has it"
                install -D -m 755 "$(readlink -f "$found")" "$root/lib/$library"
                next="$next $root/lib/$library"
            done
        done
        todo=$next
    done
}

# The modules of these names and what they need, below $1.
take_modules() {
    to=$1
    shift
    from=$top/$work/modules
    if ! [ -d "$from" ]; then
        mkdir -p "$from/lib"
        cp -a "$kernel_tree/lib/modules" "$from/lib/"
        depmod -b "$from" "$kernel"
    fi
    for name; do
        needs=$(modprobe -d "$from" -S "$kernel" --show-depends "$name" 2>/dev/null) ||
            fail "the kernel $kernel has no module $name; see the board's meta"
        echo "$needs" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | sort -u | while read -r path; do
        # As they are, whatever the kernel's package did: what holds them is compressed.
        case $path in
        *.xz)
            file=$to/${path#"$from"/}
            mkdir -p "${file%/*}"
            xz -dc "$path" >"${file%.xz}"
            ;;
        *) install -D -m 644 "$path" "$to/${path#"$from"/}" ;;
        esac
    done
    for list in modules.order modules.builtin modules.builtin.modinfo; do
        install -D -m 644 "$from/lib/modules/$kernel/$list" "$to/lib/modules/$kernel/$list"
    done
    depmod -b "$to" "$kernel"
    # Text forms of what depmod made twice; BusyBox reads modules.dep, udevd the .bin files.
    rm -f "$to/lib/modules/$kernel/modules.devname" "$to/lib/modules/$kernel/modules.softdep"
}

# Modules that every board has.
common_modules="ext4 squashfs overlay vfat nls_cp437 nls_ascii nls_iso8859-1 sd_mod"

make_root() {
    root=$work/root
    mkdir -p "$root"
    (cd "$root" && mkdir -p bin sbin lib etc proc sys dev run tmp var boot data usr/lib root)
    ln -s ../bin "$root/usr/bin"
    ln -s ../sbin "$root/usr/sbin"
    ln -s ../run "$root/var/run"
    ln -s ../run/log "$root/var/log"
    take busybox-static bin/busybox
    for applet in $(busybox_applets); do
        [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
    done
    # By these names the kernel and init ask for them.
    for applet in init modprobe reboot poweroff; do
        ln -s ../bin/busybox "$root/sbin/$applet"
    done
    for entry in $root_programs; do
        take "${entry%%:*}" "${entry#*:}"
    done
    [ -z "$wifi" ] || take_wifi
    take_libraries "$(find "$root/bin/udevadm" "$root/sbin" -type f)"
    # The loader, by the name that programs carry.
    loader=$(readelf -l "$root/bin/udevadm" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
    install -D -m 755 "$(readlink -f "$(find "$work/packages/libc6" -name "$(basename "$loader")" |
        head -1)")" "$root/lib/$(basename "$loader")"
    mkdir -p "$root/lib/systemd"
    ln -s ../../bin/udevadm "$root/lib/systemd/systemd-udevd"
    udev_rules
    install -D -m 755 "$binary" "$root/bin/roundel"
    # shellcheck disable=SC2086
    take_modules "$root" $common_modules $MODULES_BOOT $MODULES ${wifi:+$WIFI_MODULES}
    for overlay in board/common/root "$directory/root"; do
        [ -d "$overlay" ] && cp -R "$overlay/." "$root/"
    done
    [ -z "$sign" ] || signing_key
    cat >"$root/etc/roundel-release" <<RELEASE
BOARD=$board
VERSION=$version
COMMIT=$(git rev-parse HEAD)
BUILT=$SOURCE_DATE_EPOCH
KERNEL=$kernel
RELEASE
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    mksquashfs "$root" "$work/root.squashfs" -comp xz -b 256K -all-root -noappend -no-xattrs \
        -no-progress -quiet >&2
}

# What joins a wireless network, and what its chip runs.
take_wifi() {
    take wpasupplicant sbin/wpa_supplicant
    take iw sbin/iw
    # The rules of radio, signed by the key that Debian's kernel knows.
    for file in regulatory.db regulatory.db.p7s; do
        found=$(find "$work/packages/wireless-regdb" -name "$file-debian")
        [ -n "$found" ] || fail "the package wireless-regdb has no $file-debian"
        install -D -m 644 "$found" "$root/lib/firmware/$file"
    done
    for pattern in $WIFI_FIRMWARE; do
        files=$(cd "$work/packages" && find . -path "*/lib/firmware/$pattern" ! -type d)
        [ -n "$files" ] || fail "no package has the firmware $pattern"
        for file in $files; do
            mkdir -p "$root/lib/firmware/$(dirname "${file#*/lib/firmware/}")"
            # What it links to may be anywhere in the package.
            cp -L "$work/packages/$file" "$root/lib/firmware/${file#*/lib/firmware/}"
        done
    done
}

# Rules of udev that name devices, and roundel's own.
udev_rules() {
    rules=$root/lib/udev/rules.d
    mkdir -p "$rules"
    for rule in 50-udev-default 60-block 60-persistent-storage 60-serial 75-net-description \
        80-drivers; do
        install -m 644 "$work/packages/udev/lib/udev/rules.d/$rule.rules" "$rules/"
    done
    for rule in udev/*.rules; do
        [ -e "$rule" ] && install -m 644 "$rule" "$rules/"
    done
    return 0
}

# The programs that BusyBox of this package is; the machine's own BusyBox of Debian is the same.
busybox_applets() {
    cat board/common/applets
}
