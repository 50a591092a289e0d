# SPDX-License-Identifier: BSD-3-Clause
# spica bench: what it prints, what it refuses, how it stops. What it measures is nobody's claim here.
spica=$1

# valid_json FILE: where a Python is at hand
valid_json() {
    if command -v python3 >/dev/null; then
        python3 -m json.tool "$1" >json.out || { cat "$1"; exit 1; }
    fi
}

"$spica" bench --quick --json --quiet nufft >nufft.json
valid_json nufft.json
for field in complete machine processor compiler cores threads kernels clock_hertz peak_flops_one_thread rows part name \
    seconds seconds_quartiles rate unit share_of_limit limit error local_error compared to installed times_as_fast; do
    grep -q "\"$field\":" nufft.json || fail "no $field in the JSON"
done
grep -q '"complete": true' nufft.json
grep -q '"part": "nufft"' nufft.json
! grep -q '"part": "fft"' nufft.json || fail "measured what nobody asked for"

# one table, with the peers that are there and those that are not
"$spica" bench --quick --quiet steps >steps.txt
grep -q '^machine ' steps.txt
grep -q '^steps .*conjugate gradients' steps.txt
grep -qE 'FFTW(: not installed| doing so)' steps.txt || { cat steps.txt; fail "does not say whether FFTW is there"; }

# the plain kernels alone
SPICA_ISA=plain "$spica" bench --quick --quiet steps | grep -q '^machine .* plain;'

status=0
"$spica" bench --quick nuft 2>err >out || status=$?
[ $status -eq 2 ] || fail "exit status $status for an unknown part"
[ "$(wc -l <err)" -eq 1 ] && grep -q 'nuft: no such part; choose from peak, nufft, fft' err || { cat err; fail "refusal"; }
[ ! -s out ] || fail "printed something"

# Ctrl-C: what is done is shown
env --default-signal=INT "$spica" bench --quick >out 2>err &
program=$!
trap 'kill -9 $program 2>/dev/null || true' EXIT
sleep 1
kill -INT $program
status=0
wait $program || status=$?
[ $status -eq 130 ] || { cat err; fail "exit status $status after Ctrl-C"; }
grep -q '^not complete' out || { cat out err; fail "does not say that it is not complete"; }

# the phases on simulated images; their outcomes are checked on the way
"$spica" bench --quick --quiet match phases >phases.txt
grep -q '^match .*polar route' phases.txt
grep -q 'same best orientation' phases.txt
for phase in read merge phase search "all of it"; do
    grep -q "^phases *$phase " phases.txt || { cat phases.txt; fail "no row of $phase"; }
done

# whole reconstructions, and nothing left behind by them
mkdir scratch
TMPDIR=$PWD/scratch "$spica" bench --quick --json --quiet scaling >scaling.json
valid_json scaling.json
[ "$(grep -c '"peak_bytes": [0-9]' scaling.json)" -ge 8 ] || fail "no memory of whole reconstructions"
[ -z "$(ls scratch)" ] || fail "left behind: $(ls scratch)"
