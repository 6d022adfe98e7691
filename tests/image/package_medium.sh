# Part of package.sh: a disk is handed the store as by the rule of udev, and what systemd is told then
# is done by hand.
# shellcheck shell=sh disable=SC2154

disk() {
    truncate -s "$2" "$top/$1"
    mkfs.ext4 -q -L ROUNDEL "$top/$1"
    device=$(losetup --find --show "$top/$1")
    loops="$loops $device"
}
refused() {
    said=$(inside /usr/lib/roundel/medium "$device" 2>&1) && fail "$1 was taken"
    case $said in
    *"$2"*) echo "$said" ;;
    *) fail "$1: $said" ;;
    esac
    losetup --detach "$device"
}
inside systemd-analyze --man=no verify /lib/systemd/system/roundel-medium@sda1.service
disk small 96M
refused "a small disk" "is too small for the store"
[ -n "$(ls "$top/root$store")" ] || fail "a small disk took the store"

disk large 256M
large=$device
inside /usr/lib/roundel/medium "$large"
[ -z "$(ls "$top/root$store")" ] || fail "the store is in both places: $(ls "$top/root$store")"
units=$top/root/etc/systemd/system
inside systemd-analyze --man=no verify roundel.service
of_unit() {
    sed -n "s/^$2=//p" "$units/$1"
}
disk_unit='var-lib-roundel\x2dmedium.mount'
store_unit=var-lib-private-roundel-store.mount
grep -qx "BindsTo=$store_unit" "$units/roundel.service.d/medium.conf" ||
    fail "the service does not need the disk"
[ "$(of_unit "$disk_unit" What)" = "/dev/disk/by-uuid/$(blkid -s UUID -o value "$large")" ] ||
    fail "another disk is mounted: $(of_unit "$disk_unit" What)"
mount "$large" "$top/root$(of_unit "$disk_unit" Where)"
losetup --detach "$large"
mount --bind "$top/root$(of_unit $store_unit What)" "$top/root$(of_unit $store_unit Where)"
start
holds
status=$(inside roundel status)
case $status in
*"on $large (ext4), /var/lib/roundel/store"*) ;;
*) fail "the store is elsewhere: $status" ;;
esac
stop
disk other 256M
refused "a second disk" "the store is on another disk"
umount "$top/root/var/lib/roundel-medium"
