# SPDX-License-Identifier: BSD-3-Clause
# spica bench --device cuda: finds the plugin beside the program, here that of the emulated GPU, checks what its kernels
# compute, and says so where there is none.
spica=$1

cp "$spica" spica
./spica bench --device cuda --quick limits merge >out 2>err || fail "fails without a plugin"
for part in limits merge; do
    grep -q "^$part *left out" out || { cat out; fail "does not leave out $part"; }
done
[ "$(grep -c 'spica-cuda.so is not there: build spica where' err)" -eq 1 ] || { cat err; fail "does not say why, once"; }
! grep -q '^GPU ' out || { cat out; fail "tells of a GPU"; }

# what a part must have a row of
cp "$SPICA_EMULATED" spica-cuda.so
SPICA_CUFINUFFT=/no/such/libcufinufft.so ./spica bench --device cuda --quick --json --quiet nufft >nufft.json
for row in "type 2, N 80, w 4: transform and layout" "type 2, N 80, w 4: interpolation, 8 slices" \
    "type 2, N 80, w 4: values and turns, 8 slices" "type 1, N 80, w 4: spreading, 8 slices" \
    "type 1, N 80, w 4: one volume of the pair" "type 1, N 80, w 4: all of it, 8 slices" \
    "type 2, N 80, w 4: all of it, 8 slices"; do
    grep -q "\"name\": \"$row\"" nufft.json || { cat nufft.json; fail "no row $row"; }
done
grep -q '"complete": true' nufft.json
[ "$(grep -A1 '"to": "cuFINUFFT' nufft.json | grep -c '"installed": false')" -eq 2 ] || fail "finds a cuFINUFFT"
awk "BEGIN { exit !($(field nufft.json error) < 1e-3) }" || { cat nufft.json; fail "computes nonsense"; }
for field in gpu copy_bytes_per_second flops_fp32 flops_bf16_product floor_seconds; do
    grep -q "\"$field\":" nufft.json || fail "no $field in the JSON"
done

./spica bench --device cuda --quick --quiet limits match merge phase sizes >out
grep -q '^GPU  *emulated: copies ' out || { cat out; fail "does not tell of the GPU"; }
for row in "limits  copy" "limits  multiply-add" "limits  matrix product" "match   pack" "match   average" "match   offsets" \
    "match   features" "match   compare, 8 images, 32 orientations, 1 kept" "match   compare.* 32 kept" "match   search" \
    "match   likelihood, " "match   likelihood and its slopes" "match   assess, 8 images  " "match   assess.*slices in it" \
    "merge   weigh, " "merge   weigh and spread" "merge   both volumes" "merge   the system" "merge   conjugate gradients" \
    "merge   pair to autocorrelation" "phase   amplitudes" "phase   first densities" "phase   a cycle" "phase   all 4 steps" \
    "phase   autocorrelation" "phase   a density moved" "phase   means over shells" "sizes   pack" \
    "sizes   search, 8 images x 300 orientations" "sizes   search, 80 images x 60 orientations"; do
    grep -q "^$row" out || { cat out; fail "no row $row"; }
done
# each row has a floor, and was checked
[ "$(grep -c ' x the floor of ' out)" -eq "$(grep -cE '^(match|merge|phase|sizes) ' out)" ] || { cat out; fail "rows without floor"; }
grep -E '^(match|merge|phase|sizes) ' out | while read -r line; do
    error=${line##* }
    awk "BEGIN { exit !(\"$error\" + 0 < 5e-3 && \"$error\" ~ /e-|^0.0e/) }" || { echo "$line"; exit 1; }
done || fail "rows without error"
grep -q 'times as fast as sp_merger_spread, .* of the work, scaled' out || { cat out; fail "no comparison"; }
grep -q "GB of the GPU's memory in use" out || { cat out; fail "no memory"; }

# a million orientations are for those who ask
./spica bench --device cuda --help | grep -q 'sizes' || fail "no sizes in the help"
status=0
./spica bench --device cuda --quick peak 2>err >out || status=$?
[ $status -eq 2 ] && grep -q 'peak: no such part of --device cuda; choose from limits, nufft' err || { cat err; fail "refusal"; }
status=0
./spica bench --device cuda --scaling 2>err >out || status=$?
[ $status -eq 2 ] && grep -q -- '--scaling' err || { cat err; fail "measures the processor"; }

echo "no library" >spica-cuda.so
./spica bench --device cuda --quick limits >out 2>err || fail "fails with a plugin that is none"
grep -q '^limits *left out' out && grep -q 'spica-cuda.so' err || { cat out err; fail "takes a text for a plugin"; }
