# SPDX-License-Identifier: BSD-3-Clause
# reconstruct --match poisson: images divided among orientations are solved; to the same bits when killed, on any number
# of threads, by any number of processes.
set -eu
spica=$1
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# same FOLDER: its maps are those of the short run
same() {
    cmp short/density-1.mrc "$1/density-1.mrc" && cmp short/density-2.mrc "$1/density-2.mrc"
}

"$spica" simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 240 --pixels 48 --photons 2000 --seed 3 \
    -o images.h5
run="reconstruct --quiet --match poisson --starts 1 images.h5"

# in shares among the orientations of two conformations
"$spica" $run --conformations 2 --generations 4 -o short
grep -q '^match = poisson' short/settings.txt || fail "the settings do not tell"
"$spica" $run --conformations 2 --generations 4 --threads 2 -o threads
same threads || fail "two threads give other bits"
"$spica" $run --conformations 2 --generations 2 -o killed
"$spica" reconstruct --quiet --resume killed --generations 4
same killed && cmp short/result.h5 killed/result.h5 || fail "a run that was stopped gives other bits"

[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: a whole run, too long for sanitizers"; exit 0; }
"$spica" $run -o solved
"$spica" compare --json solved/result.h5 images.h5 >orientations.json
awk "BEGIN { exit !($(field orientations.json median) <= 6) }" || { cat orientations.json; fail "not solved"; }

command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 0; }
mpirun --oversubscribe --bind-to none -n 2 "$spica" $run --engine starpu --conformations 2 --generations 4 -o ranks 2>why || {
    cat why
    grep -q "built without StarPU" why && exit 0
    fail "two processes fail"
}
same ranks || fail "two processes give other bits"
