# SPDX-License-Identifier: BSD-3-Clause
# reconstruct-faults.sh SPICA -- whatever ends a run of several processes ends all of it within seconds, with its reason
# and what to do; and the run goes on to the same bits, on several processes or on one. An endless task is named.
set -eu
spica=$1
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
SECONDS_AT_MOST=15 # mpirun waits for two before it ends processes by force; the machine may be busy
program=
trap '[ -z "$program" ] || kill -9 $program' EXIT

# expect WORDS: the last run has said them
expect() {
    grep -q -- "$1" err || fail "does not say: $1"
}

# process_of RANK: of the run in the background
process_of() {
    for process in $(cat "/proc/$program/task/$program/children"); do
        if tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1"; then
            echo "$process"
        fi
    done
}

runs() { # runs PROCESS: is it there, and not only what is left for its parent to take away?
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) && [ -n "$state" ] && [ "$state" != Z ]
}

# end FOLDER SIGNAL WHOM: begins a run of two processes, and sends the signal to rank WHOM or to mpirun in mid-run;
# everything ends in time
end() {
    rm -rf "$1"
    # shellcheck disable=SC2086 # several words
    $both "$spica" $run --engine starpu -o "$1" 2>err &
    program=$!
    for _ in $(seq 6000); do
        ! grep -q 'generation  3:' "$1/log.txt" 2>/dev/null || break
        kill -0 $program || fail "ended too soon"
        sleep 0.01
    done
    processes="$(process_of 0) $(process_of 1)"
    [ "$(echo "$processes" | wc -w)" -eq 2 ] || fail "two processes are looked for: $processes"
    case $3 in mpirun) whom=$program ;; *) whom=$(process_of "$3") ;; esac
    began=$(date +%s) status=0
    kill "-$2" "$whom"
    wait $program || status=$?
    program=
    [ $status -ne 0 ] || fail "ended as if all were well"
    for process in $processes; do # mpirun does not wait for one that it has ended by force
        while runs "$process"; do
            [ $(($(date +%s) - began)) -le $SECONDS_AT_MOST ] || fail "process $process is still there"
            sleep 0.1
        done
    done
    took=$(($(date +%s) - began))
    [ "$took" -le $SECONDS_AT_MOST ] || fail "ended after $took s only"
    ! grep -q 'Signal: ' err || fail "died untidily"
}

# same FOLDER: as from the run that nobody has stopped
same() {
    cmp whole/density.mrc "$1/density.mrc" || fail "the map of $1 differs"
    cmp whole/result.h5 "$1/result.h5" || fail "the result of $1 differs"
    grep -q 'going on after generation' "$1/log.txt" || fail "$1 was not gone on with"
}

"$spica" simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 60 --pixels 48 --seed 3 -o images.h5
run="reconstruct --generations 12 --starts 2 --threads 1 images.h5"

echo "== an endless task"
status=0
# shellcheck disable=SC2086
"$spica" $run --patience 0.001 -o hasty 2>err || status=$?
[ $status -eq 137 ] || fail "exit status $status"
expect 'crew\.c:[0-9]*: task [a-z ]*, point ([0-9]*, [0-9]*) has not ended after 0.001 s; spica reconstruct --resume hasty goes on'
[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: several processes"; exit 0; }
command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 0; }
both="mpirun --oversubscribe --bind-to none -n 2"
# shellcheck disable=SC2086
"$spica" $run --quiet -o whole
if ! $both "$spica" reconstruct --engine starpu --patience 0.001 --generations 100 images.h5 -o hasty --force 2>err; then
    ! grep -q "built without StarPU" err || { echo "left out: $(cat err)"; exit 0; }
fi
expect 'rank [01]: crew\.c:[0-9]*: task [a-z ]*, point ([0-9]*, [0-9]*) has not ended after 0.001 s; spica reconstruct --resume hasty goes on'

echo "== a rank is killed"
end killed KILL 1
expect 'rank 1 .*exited on signal 9'
expect 'spica reconstruct --resume killed goes on from'
cp -r killed twin
$both "$spica" reconstruct --quiet --engine starpu --resume killed
same killed
"$spica" reconstruct --quiet --resume twin
same twin

echo "== rank 0 is killed"
end killed KILL 0
expect 'rank 0 .*exited on signal 9'
"$spica" reconstruct --quiet --resume killed
same killed

for signal in TERM INT; do
    echo "== mpirun is asked to end by $signal"
    end asked $signal mpirun
    expect 'spica reconstruct --resume asked goes on from'
    $both "$spica" reconstruct --quiet --engine starpu --resume asked --patience 600
    same asked
done
