# Part of package.sh: what the program asks the kernel for, held to the unit's SystemCallFilter=.
# shellcheck shell=sh disable=SC2154

# The system calls of a set, one a line; one that is none is itself.
expand() {
    case $1 in
    @*) ;;
    *) echo "$1" && return ;;
    esac
    inside systemd-analyze syscall-filter "$1" | sed -n 's/^    \([a-z@_][a-z0-9@_-]*\)$/\1/p' |
        while read -r name; do
            expand "$name"
        done
}
# Each line of the unit adds to those before it, or takes off them.
allowed() {
    : >"$top/allowed"
    expand @default >"$top/always"
    sed -n 's/^SystemCallFilter=//p' "$unit" | while read -r filter; do
        for set in ${filter#"~"}; do
            expand "$set"
        done | sort -u >"$top/set"
        case $filter in
        "~"*) sort "$top/allowed" | comm -23 - "$top/set" >"$top/next" ;;
        *) sort -u "$top/allowed" "$top/set" >"$top/next" ;;
        esac
        mv "$top/next" "$top/allowed"
    done
    sort -u "$top/allowed" "$top/always"
}
allowed >"$top/may"
# From the program's own start on.
sed -n '/execve("[^"]*\/roundel"/,$s/^[0-9]* *\([a-z][a-z0-9_]*\)(.*/\1/p' "$top/trace" |
    sort -u >"$top/does"
for name in openat capset; do
    grep -qx $name "$top/does" || fail "the trace has no $name, so it is no trace of a start"
done
refused=$(comm -13 "$top/may" "$top/does")
[ -z "$refused" ] ||
    fail "the unit's filter refuses what the program does: $(echo "$refused" | tr '\n' ' ')"
