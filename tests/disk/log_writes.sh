#!/bin/sh
# Runs a board in User-Mode Linux on a disk that logs its writes, then looks at what each flush left.
set -eu

usage() {
    cat <<'TEXT'
usage: tests/disk/log_writes.sh [--points N|all] [--missing] [--help]

Records every write below one board under load (dm-log-writes in User-Mode Linux, so the host's
kernel needs no device mapper), then replays the log up to many flushes, and to random parts of
what was written between two of them. At each such point ext4 must be sound, the board must start,
and every record that was acknowledged by then must be there; no removed one may be back.

Prints the points tried, the records read, those lost and the slowest recovery; exits with 1 when
one was lost or no board started. About a minute with 300 points. Needs root for namespaces and
loop devices, and an amd64 Debian; nothing reaches a network; its scratch directory (TMPDIR) is
removed.

  --points N   so many points, half of them between flushes; `all` takes an hour (default: 300)
  --missing    print the Debian packages that are missing, on one line, and end
TEXT
}

missing() {
    while read -r program package; do
        command -v "$program" >/dev/null || echo "$package"
    done <<'LIST' | sort -u | tr '\n' ' '
linux.uml user-mode-linux
insmod kmod
dmsetup dmsetup
mkfs.ext4 e2fsprogs
ip iproute2
mount mount
setpriv util-linux
LIST
}

while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage && exit 0 ;;
    --missing) missing && exit 0 ;;
    --points)
        [ $# -ge 2 ] || { echo "log_writes.sh: --points needs a number, or all" >&2; exit 2; }
        case $2 in
        all) ;;
        '' | *[!0-9]*)
            echo "log_writes.sh: --points $2: give a number, or all" >&2
            exit 2
            ;;
        esac
        export ROUNDEL_POINTS="$2"
        shift
        ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

[ "$(id -u)" -eq 0 ] || { echo "log_writes.sh: run it as root: it mounts" >&2; exit 1; }
lacking=$(missing)
[ -z "$lacking" ] || { echo "log_writes.sh: missing: apt-get install $lacking" >&2; exit 1; }

cd "$(dirname "$0")/../.."
cargo test --quiet --locked --release --test disk -- --ignored --nocapture log_writes:: || exit 1
