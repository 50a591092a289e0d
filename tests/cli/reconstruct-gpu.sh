# SPDX-License-Identifier: BSD-3-Clause
# reconstruct --device: on the emulated GPU a run comes to what it comes to on processors; without a GPU it is refused, or
# does without one.
set -eu
spica=$1

# alike A B: their maps are the same but for chance
alike() {
    ./spica compare --json "$1" "$2" >maps.json
    awk "BEGIN { exit !($(field maps.json map_correlation) >= 0.99) }" || { cat maps.json; fail "$1 and $2 differ"; }
}

# refined FOLDER: was its last generation one of refinement?
refined() {
    tr -d ' \n' <"$1/report.json" | grep -o '"refined":[a-z]*' | tail -n 1 | cut -d : -f 2
}

cp "$spica" spica
./spica simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 60 --pixels 24 --seed 4 -o images.h5
run="reconstruct images.h5 --resolution 28 --starts 2"

# without a plugin
status=0
./spica $run --generations 1 --device cuda -o none 2>err || status=$?
[ $status -eq 2 ] && grep -q 'spica-cuda.so is not there: build spica where' err || { cat err; fail "status $status"; }
[ -e none/density.mrc ] && fail "something was written"
./spica $run --generations 1 --device auto -o auto 2>err || { cat err; fail "auto wants a GPU"; }
grep -q 'no GPU is used: .*spica-cuda.so is not there' err || { cat err; fail "auto does not say why"; }

cp "$SPICA_EMULATED" spica-cuda.so
status=0
./spica $run --generations 1 --device cuda --match euclidean -o none 2>err || status=$?
[ $status -eq 2 ] && grep -q -- '--match euclidean runs on processors only' err || { cat err; fail "status $status"; }

# one more generation of a run that began on processors, of search, and of refinement
if [ "$SPICA_RUN_ENGINES" = all ]; then
    moments="3 14"
else
    moments=14 # with sanitizers
fi
for before in $moments; do
    ./spica $run --generations $before -o cpu-$before 2>err
    cp -r cpu-$before gpu-$before
    ./spica reconstruct --resume cpu-$before --generations $((before + 1)) 2>err
    ./spica reconstruct --resume gpu-$before --generations $((before + 1)) --device cuda 2>err || { cat err; fail "does not go on"; }
    grep -q 'GPU: emulated' err && grep -q 'GPU  *emulated' gpu-$before/report.txt || { cat err; fail "goes on elsewhere"; }
    alike cpu-$before/density.mrc gpu-$before/density.mrc
done
[ "$(refined gpu-14)" = true ] || fail "refinement is elsewhere now"
[ ! -d cpu-3 ] || [ "$(refined cpu-3)" = false ] || fail "search is elsewhere now"

# several conformations, and images in shares
./spica $run --generations 1 --conformations 2 --match poisson --device cuda -o shares 2>err || { cat err; fail "fails"; }
[ -s shares/density-2.mrc ] || fail "one conformation is missing"

# a GPU for each of several processes
[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: several processes, without StarPU"; exit 0; }
command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 0; }
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cp -r gpu-14 ranks
mpirun --oversubscribe --bind-to none -n 2 ./spica reconstruct --engine starpu --resume ranks --generations 16 --device cuda \
    2>err || {
    cat err
    grep -q "built without StarPU" err && exit 0
    fail "two processes fail"
}
grep -q 'GPU: emulated' err || { cat err; fail "two processes use no GPU"; }
./spica reconstruct --resume gpu-14 --generations 16 --device cuda 2>err
alike gpu-14/density.mrc ranks/density.mrc
