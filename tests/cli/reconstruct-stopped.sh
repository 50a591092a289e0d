# SPDX-License-Identifier: BSD-3-Clause
# A run that does not reach its end: Ctrl-C, killed, disk full. What is complete stays, nothing half written does.
spica=$1
program=

# whole FOLDER: the files of a generation are there and can be read, and nothing else is
whole() {
    for name in density.mrc result.h5; do
        "$spica" info "$1/$name" >info.txt || fail "$1/$name cannot be read"
    done
    for name in report.txt report.json settings.txt; do
        [ -s "$1/$name" ] || fail "no $1/$name"
    done
}

# no_leftovers FOLDER
no_leftovers() {
    left=$(find "$1" -name '*.tmp' -o -name '*.next' -o -name probe)
    [ -z "$left" ] || fail "left behind: $left"
}

# start FOLDER options...: in the background, with Ctrl-C as a terminal would have it
start() {
    folder=$1
    shift
    env --default-signal=INT "$spica" reconstruct images.h5 --resolution 15 --starts 8 -o "$folder" "$@" \
        2>err &
    program=$!
}

# wait_for FILE: until the program has written it
wait_for() {
    for _ in $(seq 600); do
        [ ! -s "$1" ] || return 0
        kill -0 $program 2>/dev/null || break
        sleep 0.1
    done
    cat err
    fail "no $1 after a minute"
}

# end_of STATUS: how the program ended
end_of() {
    status=0
    wait $program || status=$?
    program=
    [ $status -eq "$1" ] || { cat err; fail "exit status $status, not $1"; }
}
trap '[ -z "$program" ] || kill -9 $program' EXIT

"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 60 --pixels 64 --quiet -o images.h5

# Ctrl-C after a generation
start stopped
wait_for stopped/result.h5
before=$(date +%s)
kill -INT $program
end_of 130
[ $(($(date +%s) - before)) -le 10 ] || fail "took more than ten seconds to stop"
grep -q 'stopped holds generation [0-9]*, complete' err || { cat err; fail "does not say what is there"; }
grep -q 'stopped holds generation' stopped/log.txt
grep -q 'not yet: generation' stopped/report.txt
grep -q 'generations *[0-9]* (default)' stopped/report.txt || fail "--help and the library differ in --generations"
whole stopped
no_leftovers stopped

# killed: the next run may replace it, and clears what was left
start killed
wait_for killed/result.h5
kill -KILL $program
end_of 137
whole killed
"$spica" reconstruct images.h5 --resolution 20 --generations 1 -o killed --force --quiet
whole killed
no_leftovers killed
grep -q 'after 1 generations' killed/report.txt

# files that may not grow: the generation before stays whole
"$spica" reconstruct images.h5 --resolution 20 --generations 1 -o limited --quiet
cp -r limited before
status=0
(
    trap '' XFSZ
    ulimit -f 16 # blocks of 512 bytes
    "$spica" reconstruct images.h5 --resolution 20 --generations 1 -o limited --force --seed 5 --quiet 2>err
) || status=$?
[ $status -eq 1 ] || { cat err; fail "exit status $status where files may not grow"; }
grep -q 'limited/.*File too large' err && [ "$(wc -l <err)" -eq 1 ] || { cat err; fail "does not name the file"; }
for name in density.mrc result.h5 report.txt report.json settings.txt; do
    cmp before/$name limited/$name || fail "$name was changed"
done
no_leftovers limited

# a disk with room for one generation, and not for the next beside it
mkdir disk
if ! mount -t tmpfs -o size=1M none disk 2>mount.txt; then
    echo "skipped: full disk, for no small disk can be mounted: $(cat mount.txt)"
    exit 0
fi
trap '[ -z "$program" ] || kill -9 $program; umount disk' EXIT
status=0
"$spica" reconstruct images.h5 --resolution 20 --grid 40 --generations 1000 -o disk/run 2>err || status=$?
[ $status -eq 1 ] || { cat err; fail "exit status $status on a full disk"; }
grep -q 'No space left' err || { cat err; fail "does not name the reason"; }
whole disk/run
no_leftovers disk

# a disk that is full from the start
head -c 2M /dev/zero >disk/full 2>/dev/null || true
status=0
"$spica" reconstruct images.h5 -o disk/other 2>err || status=$?
[ $status -eq 1 ] || { cat err; fail "began although the disk is full"; }
grep -q 'disk/other.*No space left' err || { cat err; fail "does not name the disk"; }
[ ! -e disk/other/log.txt ] || fail "began to work"
rm disk/full
status=0
"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 2000 --pixels 48 -o disk/images.h5 2>err || status=$?
[ $status -eq 1 ] || { cat err; fail "simulate: exit status $status on a full disk"; }
grep -q 'disk/images.h5.*No space left' err || { cat err; fail "simulate: does not name the reason"; }
[ ! -e disk/images.h5 ] || fail "simulate left a file"
no_leftovers disk
