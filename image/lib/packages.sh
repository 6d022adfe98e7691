# Packages of the board's architecture, by an apt of its own: the machine's own index is left alone.
# Unpacked, not installed: nothing of the board's architecture runs here.

# Whatever a board needs, then what its meta adds.
base_packages="busybox-static udev libc6 libudev1 libkmod2 libcap2 libacl1 libblkid1 libselinux1
libpcre2-8-0 liblzma5 libzstd1 libssl3 e2fsprogs libext2fs2 libcom-err2 libuuid1"

# What joins a wireless network, for --wifi; the firmware is the board's.
wifi_packages="wpasupplicant iw wireless-regdb libdbus-1-3 libnl-3-200 libnl-genl-3-200
libnl-route-3-200 libpcsclite1 libreadline8 libtinfo6 libsystemd0 liblz4-1 libgcrypt20 libgpg-error0"

write_apt() {
    mkdir -p "$packages/lists/partial" "$packages/cache/archives/partial" "$packages/apt.conf.d"
    : >"$packages/status"
    : >"$packages/empty"
    root=$top/$packages
    check_date=true
    [ -z "$lagging" ] || check_date=false
    cat >"$packages/apt.conf" <<CONF
Dir "$root";
Dir::State "$root";
Dir::State::lists "$root/lists";
Dir::State::status "$root/status";
Dir::Cache "$root/cache";
Dir::Etc "$root";
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "$root/empty.d";
Dir::Etc::preferencesparts "$root/empty.d";
APT::Architecture "$ARCH";
APT::Architectures { "$ARCH"; };
Acquire::Languages "none";
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "$check_date";
CONF
    mkdir -p "$packages/empty.d"
    # The same archive as this machine's, for the board's suite.
    archive=$(apt-cache policy | sed -n 's/^ *[0-9]* \(http[^ ]*\) .*\/main .*/\1/p' |
        grep -v -e security -e updates | head -1)
    [ -n "$archive" ] || fail "this machine's apt knows no Debian archive; run apt-get update, or see /etc/apt"
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$keys" ] || fail "the archive's keys are missing; install debian-archive-keyring"
    {
        echo "deb [signed-by=$keys] $archive $suite main non-free-firmware"
        case $suite in
        sid | unstable) ;;
        *)
            echo "deb [signed-by=$keys] $archive $suite-updates main non-free-firmware"
            echo "deb [signed-by=$keys] $archive-security $suite-security main non-free-firmware"
            ;;
        esac
    } >"$packages/sources.list"
}

# The archive's index, checked against its signature.
update_apt() {
    write_apt
    apt apt-get -q update >&2 && return 0
    [ -n "$lagging" ] ||
        fail "the archive's index of $suite for $ARCH cannot be used, as apt says above: try again \
later or by another mirror in /etc/apt; --lagging-archive does with what it has"
    sed -i '/-security /d' "$packages/sources.list"
    rm -rf "$packages/lists"
    mkdir -p "$packages/lists/partial"
    apt apt-get -q update >&2 || fail "the archive's index of $suite for $ARCH cannot be used"
    echo "image/build.sh: no security updates of $suite are in this image" >&2
}

apt() {
    APT_CONFIG=$top/$packages/apt.conf "$@"
}

# The archive of one suite. An index of the last hours is used again: a build takes seconds then.
open_archive() {
    suite=$1
    packages=target/image/packages/$ARCH-$suite${lagging:+-lagging}
    if [ -z "$(find "$packages/fresh" -mmin -720 2>/dev/null)" ]; then
        update_apt
        touch "$packages/fresh"
    fi
    mkdir -p "$packages/debs"
}

# Unpacks these packages below $work/packages.
fetch() {
    for name; do
        line=$(cd "$packages/empty.d" && apt apt-get -q download --print-uris "$name" | tail -1)
        file=$(echo "$line" | cut -d' ' -f2)
        sum=$(echo "$line" | cut -d' ' -f4 | sed 's/^SHA256://')
        [ -n "$file" ] || fail "the archive has no package $name for $ARCH in $suite"
        path=$packages/debs/$file
        if ! echo "$sum  $path" | sha256sum --check --status 2>/dev/null; then
            rm -f "$path"
            (cd "$packages/debs" && apt apt-get -q download "$name" >&2)
            echo "$sum  $path" | sha256sum --check --status ||
                fail "$file is not what the archive's index says; try again"
        fi
        mkdir -p "$work/packages/$name"
        dpkg-deb -x "$path" "$work/packages/$name"
        echo "$name $(dpkg-deb -f "$path" Version) $file $sum" >>"$work/packages.list"
    done
}

# Sets `kernel` to the version of the kernel, and unpacks every package; what they are stands in
# $work/packages.list: name, version, file, SHA-256.
fetch_packages() {
    : >"$work/packages.list"
    open_archive "$SUITE"
    # shellcheck disable=SC2086
    fetch $base_packages ${PACKAGES:-} ${wifi:+$wifi_packages $WIFI_PACKAGES}
    open_archive "${KERNEL_SUITE:-$SUITE}"
    package=$(apt apt-cache depends --important "$KERNEL" |
        sed -n 's/^ *Depends: \(linux-image-[^ ]*\)/\1/p' | head -1)
    [ -n "$package" ] || fail "the archive has no package $KERNEL for $ARCH in $suite"
    kernel=${package#linux-image-}
    # shellcheck disable=SC2086
    fetch "$package" ${FIRMWARE:-}
    # Newer ones are split: the image, its modules, its device trees, and a package that needs
    # them all.
    parts=$(dpkg-deb -f "$packages/debs/$(sed -n "s/^$package [^ ]* \([^ ]*\) .*/\1/p" "$work/packages.list")" \
        Depends | tr ',' '\n' | sed -n 's/^ *\(linux-\(base\|binary\|modules\)-[^ ]*\).*/\1/p')
    # shellcheck disable=SC2086
    fetch $parts
    kernel_tree=$work/kernel
    mkdir -p "$kernel_tree"
    for name in $package $parts; do
        cp -al "$work/packages/$name/." "$kernel_tree/"
    done
    [ -d "$kernel_tree/lib/modules" ] ||
        { mkdir -p "$kernel_tree/lib" && mv "$kernel_tree/usr/lib/modules" "$kernel_tree/lib/"; }
    kernel_files=$kernel_tree/lib/modules/$kernel
    if [ -e "$kernel_files/vmlinuz" ]; then
        mkdir -p "$kernel_tree/boot"
        mv "$kernel_files/vmlinuz" "$kernel_tree/boot/vmlinuz-$kernel"
        rm -rf "$kernel_tree/usr/lib/linux-image-$kernel"
        mv "$kernel_files/dtb" "$kernel_tree/usr/lib/linux-image-$kernel"
    fi
}
