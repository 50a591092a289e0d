# SPDX-License-Identifier: BSD-3-Clause
# spica bench gpu: finds the plugin beside the program, here that of the emulated GPU, and says so where there is none.
spica=$1

cp "$spica" spica
./spica bench --quick gpu >out 2>err || fail "fails without a plugin"
grep -q '^gpu *left out' out || { cat out; fail "does not leave it out"; }
grep -q 'spica-cuda.so is not there: build spica where' err || { cat err; fail "does not say why"; }

cp "$SPICA_EMULATED" spica-cuda.so
./spica bench --quick --json --quiet gpu >gpu.json
grep -q '"name": "type 2, width 4, 8 slices, emulated"' gpu.json || { cat gpu.json; fail "nothing is timed"; }
grep -q '"complete": true' gpu.json
awk "BEGIN { exit !($(field gpu.json error) < 1e-3) }" || { cat gpu.json; fail "computes nonsense"; }

echo "no library" >spica-cuda.so
./spica bench --quick gpu >out 2>err || fail "fails with a plugin that is none"
grep -q '^gpu *left out' out && grep -q 'spica-cuda.so' err || { cat out err; fail "takes a text for a plugin"; }
