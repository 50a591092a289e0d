# SPDX-License-Identifier: BSD-3-Clause
# fuzz.sh RUN_FUZZ [FIRST LAST [local]] -- random programs come to the same bits by a plain interpreter, on any number
# of threads, and on any number of processes where the program was built with StarPU (and unless `local` is said).
# Several processes run only a part of the seeds: they are slow where they share few processors.
set -eu
fuzz=$1 first=${2:-1} last=${3:-200} engines=${4:-all}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_WAIT_POLICY=passive # several processes share the processors
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

compare() { # compare NAME COMMAND...: do all seeds of this command come out as they should?
    name=$1
    shift
    echo "== $name"
    "$@" "$first" "$to" >"$folder/got" || { echo "fuzz: $name ended with an error"; exit 1; }
    head -n $((to - first + 1)) "$folder/all" >"$folder/expected"
    if ! cmp -s "$folder/expected" "$folder/got"; then
        echo "fuzz: $name differs from the oracle in $(diff "$folder/expected" "$folder/got" | grep -c '^<') seeds:"
        diff "$folder/expected" "$folder/got" | head -n 10
        exit 1
    fi
}

"$fuzz" --oracle "$first" "$last" >"$folder/all"
[ "$(wc -l <"$folder/all")" -eq $((last - first + 1)) ] || { echo "fuzz: the oracle left out seeds"; exit 1; }

to=$last
compare "local, 1 thread" env OMP_NUM_THREADS=1 "$fuzz" --threads 1
compare "local, 2 threads" env OMP_NUM_THREADS=2 "$fuzz" --threads 2
compare "local, 3 threads" env OMP_NUM_THREADS=3 "$fuzz" --threads 3
[ "$engines" = all ] || exit 0

if ! "$fuzz" --engine starpu 1 1 >"$folder/got" 2>"$folder/why"; then
    grep -q "built without StarPU" "$folder/why" || { cat "$folder/why"; exit 1; }
    echo "left out: $(cat "$folder/why")"
    exit 0
fi
compare "StarPU, 1 process" "$fuzz" --engine starpu --threads 2
if ! command -v mpirun >/dev/null; then
    echo "left out: several processes, without mpirun"
    exit 0
fi
for processes in 2 3 4; do # with 3, lanes of sums move between processes
    to=$((first + (last - first) / (2 * processes)))
    compare "StarPU, $processes processes" \
        mpirun --oversubscribe --bind-to none -n "$processes" "$fuzz" --engine starpu --threads 1
done
