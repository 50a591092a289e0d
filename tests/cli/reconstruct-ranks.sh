# SPDX-License-Identifier: BSD-3-Clause
# reconstruct-ranks.sh SPICA -- the same bits from the local engine, from StarPU, and from several processes; a trace.
set -eu
spica=$1
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

"$spica" simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 60 --pixels 48 --seed 3 -o images.h5
run="reconstruct --quiet --force --generations 3 --starts 2 images.h5"
"$spica" $run --trace local.json -o local
grep -q '"name": "merge"' local.json || fail "no merge in the trace"
[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: other engines"; exit 0; }

if ! "$spica" $run --engine starpu -o one 2>why; then
    cat why
    fail "StarPU on one process fails"
fi
cmp local/density.mrc one/density.mrc || fail "StarPU on one process gives other bits"
if grep -q "the local engine is used" why; then
    echo "left out: $(cat why)"
    exit 0
fi
command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 0; }
mpirun --oversubscribe --bind-to none -n 2 "$spica" $run --engine starpu --trace two.json -o two
cmp local/density.mrc two/density.mrc || fail "two processes give other bits"
grep -q '"pid": 1' two.json || fail "no second process in the trace"

grep -q 'peak memory [0-9]*, [0-9]* MB, by process' two/report.txt || fail "no memory of the second process in the report"
grep -q 'MB in each process, with [0-9]* bytes for each of 30 images' two/log.txt || fail "the share of a process is not told"

# what rank 0 alone finds out ends all, in one line of sense
if mpirun --oversubscribe --bind-to none -n 2 "$spica" reconstruct --engine starpu images.h5 -o two 2>why; then
    fail "an older run was replaced without --force"
fi
grep -q "force" why || { cat why; fail "the reason is not told"; }
