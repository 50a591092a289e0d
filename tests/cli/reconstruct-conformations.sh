# SPDX-License-Identifier: BSD-3-Clause
# reconstruct --conformations: a mixture of two molecules is sorted, without being told which is which; one that is
# not there is named; to the same bits when killed, and by any number of processes.
set -eu
spica=$1
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# the whole molecule, and the first of its two halves
gzip -dc "$SPICA_EXAMPLES/2cex.pdb.gz" | awk '/^ATOM/ && substr($0, 23, 4) + 0 <= 180' >half.pdb
"$spica" simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --structure half.pdb --images 200 --pixels 48 \
    --photons 1e6 --seed 2 -o images.h5
# going on after a kill, and a run with one conformation in its place
"$spica" reconstruct --quiet --conformations 2 images.h5 --generations 3 -o short
"$spica" reconstruct --quiet --resume short --generations 5
"$spica" reconstruct --quiet --conformations 2 images.h5 --generations 5 -o whole
cmp short/density-2.mrc whole/density-2.mrc || fail "a run that was stopped gives other bits"
"$spica" reconstruct --quiet --force --starts 1 images.h5 --generations 2 -o short
[ -s short/density.mrc ] && [ ! -e short/density-1.mrc ] && [ ! -e short/density-2.mrc ] || fail "older maps are left"

[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: whole runs, too long for sanitizers"; exit 0; }

# the mixture is sorted
run="reconstruct --quiet --conformations 2 images.h5"
"$spica" $run --half-sets -o two
[ -s two/density-1.mrc ] && [ -s two/density-2.mrc ] && [ ! -e two/density.mrc ] || fail "maps are missing"
"$spica" compare --json two/result.h5 images.h5 >labels.json
awk "BEGIN { exit !($(field labels.json labels_right) >= 0.95) }" || { cat labels.json; fail "wrong conformations"; }
grep -q '^  conformations  *1: ' two/report.txt || fail "the report does not count images"

# and so do half sets, which tell the resolution of each map
awk "BEGIN { exit !($(field two/report.json labels_same) >= 0.95 && $(field two/report.json labels_chance) < 0.6) }" ||
    fail "half sets sort $(field two/report.json labels_same) alike, by chance $(field two/report.json labels_chance)"
for k in 1 2; do
    grep -q "^  resolution of map $k  *[0-9.]* Angstrom by half sets" two/report.txt ||
        { cat two/report.txt; fail "no resolution of map $k"; }
done

# one molecule needs one conformation
"$spica" simulate --quiet --structure half.pdb --images 150 --pixels 48 --photons 1e6 --seed 3 -o one.h5
"$spica" reconstruct --quiet --conformations 2 --half-sets one.h5 -o one
grep -q '1 conformation is enough' one/report.txt ||
    { cat one/report.txt; fail "does not say that one conformation is enough"; }
[ "$(grep -c '^  resolution of map [12]  *[0-9.]* Angstrom' one/report.txt)" = 1 ] &&
    [ "$(grep -c '^  resolution of map [12]  *NONE: half sets have too few images' one/report.txt)" = 1 ] ||
    { cat one/report.txt; fail "an empty conformation has a resolution, or the other has none"; }

# how many there are is found; few images held out do not tell
auto="reconstruct --quiet --conformations auto --resolution 12 --starts 2 images.h5"
"$spica" $auto --held-out 0.2 -o found
[ "$(field found/report.json found)" = 2 ] && [ -s found/density-2.mrc ] && [ ! -e found/density-3.mrc ] ||
    { cat found/report.txt; fail "does not find two conformations"; }
grep -q '^  tried 3 ' found/report.txt || { cat found/report.txt; fail "does not tell what was tried"; }
# to the same bits when killed on the way
timeout -s KILL 5 "$spica" $auto --held-out 0.2 -o again 2>why || true
"$spica" reconstruct --quiet --resume again
cmp found/density-2.mrc again/density-2.mrc || fail "a search for the number that was killed gives other bits"
"$spica" $auto 2>why && fail "takes 10 images for enough to tell how many conformations there are"
grep -q -- '--held-out: 0.05 of 200 images' why || { cat why; fail "does not say what to do"; }

# any number of processes
command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 0; }
mpirun --oversubscribe --bind-to none -n 2 "$spica" $run --engine starpu --generations 5 -o ranks 2>why || {
    cat why
    grep -q "built without StarPU" why && exit 0
    fail "two processes fail"
}
cmp whole/density-1.mrc ranks/density-1.mrc && cmp whole/density-2.mrc ranks/density-2.mrc ||
    fail "two processes give other bits"
