# SPDX-License-Identifier: BSD-3-Clause
# reconstruct-hosts.sh SPICA -- two hosts, each with a network of its own, one process on each, and a wire between them:
# the same bits as on one; what dies on the other host, or a network that is cut, ends all. The hosts are network namespaces of this machine, so they
# share its files. Needs root; left out, with the reason, where there is none.
set -eu
spica=$1
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
A=spica-$$-a B=spica-$$-b # names of the namespaces
NET=198.18.7              # of the addresses for tests between networks (RFC 2544)
LEAST_BYTES=1000000       # that must have crossed the wire, each way: many times what starting a job takes
SECONDS_AT_MOST=30
program=

leave_out() {
    echo "left out: $*"
    exit 77
}

clean() {
    [ -z "$program" ] || kill -9 $program || true
    ip netns delete "$A" 2>/dev/null || true
    ip netns delete "$B" 2>/dev/null || true
}

make_hosts() {
    trap clean EXIT
    ip netns add "$A"
    ip netns add "$B"
    ip link add wire netns "$A" type veth peer name wire netns "$B"
    ip -n "$A" address add $NET.1/30 dev wire
    ip -n "$B" address add $NET.2/30 dev wire
    for host in "$A" "$B"; do
        ip -n "$host" link set lo up
        ip -n "$host" link set wire up
    done
    printf '%s.1 slots=1\n%s.2 slots=1\n' $NET $NET >hosts
    # in place of ssh: what mpirun calls to start its daemon on another host, with the host's name before the command
    printf '#!/bin/sh\nshift\nexec ip netns exec %s sh -c "$*"\n' "$B" >enter
    chmod +x enter
}

crossed() { # crossed rx|tx: bytes that have crossed the wire
    ip netns exec "$A" cat "/sys/class/net/wire/statistics/$1_bytes"
}

# on_both WORDS...: spica under mpirun on the first host, with a process on each, and messages by TCP alone
on_both() {
    exec ip netns exec "$A" mpirun --hostfile hosts --map-by node --bind-to none -n 2 --mca plm_rsh_agent "$PWD/enter" \
        --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include $NET.0/30 --mca oob_tcp_if_include $NET.0/30 \
        --mca oob_tcp_keepalive_time 3 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 "$spica" "$@"
}

[ "$SPICA_RUN_ENGINES" = all ] || leave_out "several processes"
command -v mpirun >/dev/null || leave_out "several processes, without mpirun"
command -v ip >/dev/null || leave_out "two hosts, without ip (package iproute2)"
"$spica" simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 60 --pixels 48 --seed 3 -o images.h5
run="reconstruct --generations 8 --starts 2 --threads 1 images.h5"
# shellcheck disable=SC2086 # several words
if ! "$spica" $run --quiet --engine starpu -o whole 2>err; then fail "StarPU on one process fails"; fi
! grep -q "the local engine is used" err || leave_out "$(cat err)"
(make_hosts && trap - EXIT) 2>why || { clean; leave_out "two hosts: no network namespaces here: $(head -n 1 why)"; }
trap clean EXIT

echo "== two hosts"
# shellcheck disable=SC2086
(on_both $run --engine starpu -o both) 2>err || fail "does not run"
cmp whole/density.mrc both/density.mrc || fail "the map differs"
cmp whole/result.h5 both/result.h5 || fail "the result differs"
echo "bytes over the wire: $(crossed tx) there, $(crossed rx) back"
[ "$(crossed tx)" -gt $LEAST_BYTES ] && [ "$(crossed rx)" -gt $LEAST_BYTES ] || fail "nothing has crossed the wire"

# on_other NAME: the processes of this name on the second host
on_other() {
    for process in $(ip netns pids "$B"); do
        ! grep -qx "$1" "/proc/$process/comm" 2>/dev/null || echo "$process"
    done
}

for victim in spica orted wire; do # the process, or mpirun's daemon there, or the network
    echo "== the end of $victim"
    rm -rf killed
    # shellcheck disable=SC2086
    (on_both $run --engine starpu -o killed) 2>err &
    program=$!
    for _ in $(seq 6000); do
        ! grep -q 'generation  3:' killed/log.txt 2>/dev/null || break
        kill -0 $program || fail "ended too soon"
        sleep 0.01
    done
    began=$(date +%s) status=0
    case $victim in
    wire) ip -n "$A" link set wire down ;;
    *) kill -9 "$(on_other $victim)" || fail "no $victim there" ;;
    esac
    wait $program || status=$?
    program=
    took=$(($(date +%s) - began))
    [ $status -ne 0 ] || fail "ended as if all were well"
    [ "$took" -le $SECONDS_AT_MOST ] || fail "ended after $took s only"
    for _ in 1 2 3 4 5 6 7 8 9 10; do # the other host finds out by itself
        [ -n "$(on_other spica)" ] || break
        sleep 1
    done
    [ -z "$(on_other spica)" ] || fail "a process is left on the other host"
    ip -n "$A" link set wire up
    case $victim in
    spica) grep -q "rank 1 .*on node $NET.2 exited on signal 9" err || fail "the rank is not named" ;;
    *) grep -q "lost communication" err && grep -q "Remote daemon: .* on node $NET.2" err || fail "the host is not named" ;;
    esac
    grep -q 'spica reconstruct --resume killed goes on' err || fail "does not say how to go on"
    (on_both reconstruct --quiet --engine starpu --resume killed) || fail "does not go on"
    cmp whole/density.mrc killed/density.mrc || fail "the map of the run that went on differs"
done
