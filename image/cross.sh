#!/bin/sh
# Builds the static binary of one architecture, without a container: Debian's compiler and standard
# library (one version, so that the library can be built from source) and zig as the linker.
set -eu

usage() {
    cat <<'TEXT'
usage: image/cross.sh ARCHITECTURE [--test]

Builds roundel as one static binary and prints its path.

  ARCHITECTURE  aarch64, armv7 or x86_64
  --test        build the unit tests instead of the program

What is missing is installed (as root): rustc-web, cargo-web and rust-web-src of Debian, and
cargo-zigbuild, ziglang and libclang of PyPI in target/cross/venv. Where Docker is there is also
`cross build --release --target TRIPLE` (Cross.toml).
TEXT
}

fail() {
    echo "image/cross.sh: $1" >&2
    exit "${2:-1}"
}

cd "$(dirname "$0")/.."
case ${1:-} in
aarch64 | arm64) triple=aarch64-unknown-linux-musl ;;
armv7 | armhf) triple=armv7-unknown-linux-musleabihf ;;
x86_64 | amd64) triple=x86_64-unknown-linux-musl ;;
--help | -h) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac
tests=
case ${2:-} in
'') ;;
--test) tests=yes ;;
*) usage >&2 && exit 2 ;;
esac

if ! [ -x /usr/bin/rustc ] || ! [ -x /usr/bin/cargo ] || ! [ -d /usr/src/rustc-web ] &&
    ! dpkg -s rust-web-src >/dev/null 2>&1; then
    [ "$(id -u)" -eq 0 ] ||
        fail "Debian's rustc-web, cargo-web and rust-web-src are missing; install them"
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        rustc-web cargo-web rust-web-src >&2
fi
venv=$PWD/target/cross/venv
if ! [ -x "$venv/bin/cargo-zigbuild" ]; then
    mkdir -p target/cross
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet cargo-zigbuild ziglang libclang >&2
fi
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

export PATH="/usr/bin:$venv/bin:/bin:/usr/sbin:/sbin"
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
export CARGO_ZIGBUILD_ZIG_PATH="$packages/ziglang/zig"
export LIBCLANG_PATH="$packages/clang/native"
# zig brings the start files of musl. Paths of this machine do not belong into what is flashed.
export RUSTFLAGS="-C link-self-contained=no --remap-path-prefix=$PWD=roundel \
--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
export CARGO_TARGET_DIR="$PWD/target/cross"
unset RUSTUP_TOOLCHAIN CARGO

if [ -n "$tests" ]; then
    # Tests unwind; and they are not flashed, so what takes longest is left out.
    export CARGO_PROFILE_BOARD_LTO=off CARGO_PROFILE_BOARD_CODEGEN_UNITS=16
    export CARGO_PROFILE_BOARD_PANIC=unwind CARGO_TARGET_DIR="$PWD/target/cross/test"
    cargo-zigbuild test --locked --lib --no-run -Z build-std=std,panic_unwind,test \
        --target "$triple" --profile board >&2
    ls -t "$CARGO_TARGET_DIR/$triple/board/deps"/roundel-* | grep -v '\.d$' | head -1
else
    # A panic ends the program and nothing has symbols: tables to unwind by are a tenth of it for naught.
    export RUSTFLAGS="$RUSTFLAGS -C force-unwind-tables=no"
    cargo zigbuild --locked --bin roundel -Z build-std=std,panic_abort --target "$triple" \
        --profile board >&2
    echo "target/cross/$triple/board/roundel"
fi
