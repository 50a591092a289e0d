# SPDX-License-Identifier: BSD-3-Clause
# reconstruct --resume: a run that was killed goes on to the same bits; what does not fit is refused.
spica=$1
program=

trap '[ -z "$program" ] || kill -9 $program' EXIT

# start WORDS...: spica reconstruct in the background
start() {
    "$spica" reconstruct "$@" 2>err &
    program=$!
}

# stop SIGNAL STATUS: how the program must end by it; one that came to its end before is fine
stop() {
    status=0
    kill "-$1" $program 2>/dev/null || true
    wait $program || status=$?
    program=
    [ $status -eq "$2" ] || [ $status -eq 0 ] || { cat err; fail "exit status $status by signal $1"; }
}

# wait_until COMMAND...: wait until it succeeds, or the program has ended
wait_until() {
    for _ in $(seq 20000); do
        ! "$@" >/dev/null 2>&1 || return 0
        kill -0 $program 2>/dev/null || return 0
        sleep 0.01
    done
    fail "waited in vain for: $*"
}

# same A B: the results are equal, bit for bit, history and settings included
same() {
    cmp "$1/density.mrc" "$2/density.mrc" || fail "the maps of $1 and $2 differ"
    cmp "$1/result.h5" "$2/result.h5" || fail "the results of $1 and $2 differ"
    cmp "$1/settings.txt" "$2/settings.txt" || fail "the settings of $1 and $2 differ"
    left=$(find "$2" -name '*.tmp' -o -name '*.next' -o -name probe)
    [ -z "$left" ] || fail "left behind: $left"
}

# refused STATUS FOLDER TEXT WORDS...: one line that holds the text; the folder is as it was
refused() {
    wanted=$1 folder=$2 text=$3 status=0
    shift 3
    rm -rf before
    cp -r "$folder" before
    "$spica" reconstruct --resume "$folder" "$@" >err 2>&1 || status=$?
    [ $status -eq "$wanted" ] || { cat err; fail "exit status $status, not $wanted, for $folder $*"; }
    grep -qF -- "$text" err || { cat err; fail "does not say '$text'"; }
    [ "$(wc -l <err)" -eq 1 ] || { cat err; fail "more than one line"; }
    diff -r before "$folder" || fail "$folder was changed"
}

# So few images, of so small a particle, that generations are refused in both stages and a second attempt begins.
"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 16 --pixels 32 --photons 1e6 --seed 4 --quiet -o images.h5
hard="images.h5 --starts 1 --resolution 16 --diameter 38 --seed 2"
# shellcheck disable=SC2086 # several words
"$spica" reconstruct $hard --generations 24 -o whole --quiet
for words in 'generation  [1-9]: .*(refused)' 'generation 1[0-9]: .*(refused)' 'attempt 2'; do
    grep -q "$words" whole/log.txt || echo "note: no more '$words' in this run"
done

# killed in the search, after refused generations, in the refinement, in the second attempt
# shellcheck disable=SC2086
start $hard --generations 24 -o killed
for moment in 2 5 9 13 16 21 24; do
    wait_until grep -q "generation *$moment:" killed/log.txt
    stop KILL 137
    echo rubbish >killed/checkpoint.h5.next.tmp
    echo rubbish >killed/result.h5.next
    start --resume killed
done
wait $program || { cat err; fail "does not go on"; }
program=
rm -f killed/checkpoint.h5.next.tmp killed/result.h5.next # the last one had ended before
same whole killed
grep -q 'going on after generation' killed/log.txt
[ "$(grep -c '16 images, results go to' killed/log.txt)" -ge 5 ] || fail "the log does not go on"
grep -q '^ *1  ' killed/report.txt && grep -q '^ *24  ' killed/report.txt || fail "the report does not show the whole history"

# killed while it writes
# shellcheck disable=SC2086
start $hard --generations 24 -o torn
wait_until test -s torn/checkpoint.h5
for _ in 1 2 3 4; do
    wait_until ls torn/*.next torn/*.tmp
    stop KILL 137
    "$spica" info torn/checkpoint.h5 >info.txt || fail "half a checkpoint"
    start --resume torn
done
wait $program || { cat err; fail "does not go on"; }
program=
same whole torn

# stopped by a signal that it obeys, and then by its limit, which may be raised
# shellcheck disable=SC2086
start $hard --generations 8 -o limited
wait_until grep -q 'generation *4:' limited/log.txt
stop TERM 130
grep -q 'spica reconstruct --resume limited goes on' limited/log.txt || grep -q 'generation  8' limited/log.txt || fail "the cure is not told"
"$spica" reconstruct --resume limited --threads 1 --quiet
grep -q 'stopped after 8 generations' limited/log.txt
refused 0 limited 'limited: the run has ended after 8 generations: the number of generations allowed was used up'
refused 2 limited '--generations: 7 is less than the 8' --generations 7
cp -r limited short
"$spica" reconstruct --resume limited --generations 24 --threads 0 --quiet
same whole limited

# a run that has converged has ended for good
"$spica" reconstruct images.h5 --starts 1 --resolution 20 --generations 400 -o easy --quiet # room for all attempts
grep -q 'converged after' easy/log.txt || fail "the easy run does not converge"
refused 0 easy 'easy: the run has ended after' --generations 500

# what defines the result stays
refused 2 short '--seed: a run goes on as it began' --seed 1
refused 2 short '--resolution:' --resolution 12
refused 2 short '--output:' -o other
refused 2 short '--force:' --force
refused 2 short '--settings:' --settings short/settings.txt
[ ! -e other ] || fail "made a folder"

# checkpoints that are none
mkdir empty
refused 1 empty 'empty/checkpoint.h5: not there'
for size in 0 100 2000 20000; do
    rm -rf bad
    cp -r short bad
    head -c $size short/checkpoint.h5 >bad/checkpoint.h5
    refused 1 bad 'begin again: spica reconstruct --settings bad/settings.txt -o bad --force'
    grep -q 'bad/checkpoint.h5' err || { cat err; fail "does not name the file"; }
done
cp short/result.h5 bad/checkpoint.h5
refused 1 bad 'bad/checkpoint.h5'
status=0
"$spica" reconstruct --resume nowhere 2>err || status=$?
[ $status -eq 1 ] && grep -q 'nowhere: no such folder' err || { cat err; fail "a folder that is not there"; }

# images that moved, and others
mv images.h5 moved.h5
refused 1 short 'images.h5: the images of this run are not there any more; tell their new place' --generations 16
"$spica" reconstruct --resume short moved.h5 --generations 24 --quiet
cmp whole/density.mrc short/density.mrc || fail "moved images give another map"
grep -q 'images = moved.h5' short/settings.txt
"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 16 --pixels 32 --photons 1e6 --seed 5 --quiet -o others.h5
"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 17 --pixels 32 --photons 1e6 --seed 4 --quiet -o more.h5
for images in others.h5 more.h5; do
    rm -rf before
    cp -r short before
    status=0
    "$spica" reconstruct --resume short $images --generations 60 2>err --quiet || status=$?
    [ $status -eq 1 ] && grep -q 'short/checkpoint.h5: was made from' err || { cat err; fail "takes $images"; }
    diff -r --exclude log.txt before short || fail "other images changed the folder"
done
