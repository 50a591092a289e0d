# SPDX-License-Identifier: BSD-3-Clause
# faults.sh RUN_FAULTS [local] -- whatever goes wrong on one process ends all of them within seconds, and is named once,
# by file, line, task, point and rank. With several processes only where the program was built with StarPU, and unless
# `local` is said.
set -eu
faults=$1 engines=${2:-all}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
SECONDS_AT_MOST=30 # far less than for ever, and enough for a busy machine
export OMP_WAIT_POLICY=passive
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

refuse() {
    echo "faults: $name: $*"
    cat "$folder/out" "$folder/err"
    exit 1
}

runs() { # runs PID: is there such a process, and not only its remains that nobody has taken away?
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) && [ -n "$state" ] && [ "$state" != Z ]
}

run() { # run NAME COMMAND...: it ends in time, with all its processes; sets status
    name=$1 status=0
    shift
    echo "== $name"
    began=$(date +%s)
    timeout -k 5 60 "$@" >"$folder/out" 2>"$folder/err" || status=$?
    took=$(($(date +%s) - began))
    [ "$took" -le $SECONDS_AT_MOST ] || refuse "ended after $took s only"
    for pid in $(sed -n 's/^pid //p' "$folder/out"); do
        for trial in 1 2 3 4 5; do
            runs "$pid" || break
            sleep 1
        done
        ! runs "$pid" || refuse "process $pid is still there"
    done
}

expect() { # expect NAME LINE COMMAND...: fails, and says LINE (a pattern) once, by itself
    label=$1 line=$2
    shift 2
    run "$label" "$@"
    [ "$status" -ne 0 ] || refuse "ended as if all were well"
    [ "$(grep -c -- "$line" "$folder/err")" -eq 1 ] || refuse "does not say once: $line"
}

HERE='faults\.c:[1-9][0-9]*'

run "local, none" "$faults" --engine local none
[ "$status" -eq 0 ] || refuse "fails"
expect "local, fail" "^run_faults: $HERE: task baking, point (3, 0): 11 eggs are too few\$" "$faults" --engine local fail
expect "local, endless" "^$HERE: task waiting, point (3, 0) has not ended after 2 s\$" "$faults" --engine local endless
[ "$engines" = all ] || { echo "left out: several processes, whose libraries no sanitizer knows"; exit 0; }

if ! "$faults" --engine starpu none >"$folder/out" 2>"$folder/err"; then
    name="StarPU, none"
    grep -q "built without StarPU" "$folder/err" || refuse "fails"
    echo "left out: $(cat "$folder/err")"
    exit 0
fi
expect "StarPU, fail" "^run_faults: $HERE: task baking, point (3, 0): 11 eggs are too few\$" \
    "$faults" --engine starpu fail
if ! command -v mpirun >/dev/null; then
    echo "left out: several processes, without mpirun"
    exit 0
fi

both="mpirun --oversubscribe --bind-to none -n 2 $faults --engine starpu"
run "2 processes, none" $both none
[ "$status" -eq 0 ] || refuse "fails"
expect "2 processes, fail" "rank 1: $HERE: task baking, point (7, 0): 11 eggs are too few\$" $both fail
expect "2 processes, misuse" \
    "rank 1: $HERE: task taking, point (7, 0): sp_task_out() of argument 0, which is only read\$" $both misuse
expect "2 processes, endless" "rank 1: $HERE: task waiting, point (7, 0) has not ended after 2 s\$" $both endless
expect "2 processes, killed" "rank 1 .*exited on signal 9" $both killed
# every rank sees that they differ, and says so before it is ended, or not
differ="ranks do not make the same calls: rank 0 is at $HERE (copying), rank 1 at"
for fault in skip leave alone; do
    run "2 processes, $fault" $both $fault
    [ "$status" -ne 0 ] || refuse "ended as if all were well"
    grep -q "$differ [a-z]*\.c:[0-9]* ([a-z]*)\$" "$folder/err" || refuse "does not say: $differ ..."
done
grep -q '^rank 1: no nest$' "$folder/err" || refuse "does not say why rank 1 went another way"
