# SPDX-License-Identifier: BSD-3-Clause
# spica scale: a generation on processes that are imagined
spica=$1

"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 24 --pixels 32 --seed 7 --quiet -o images.h5

# a row for each number of processes, with as many images as asked for
"$spica" scale images.h5 --ranks 64 --per-rank 6 --generations 2 --quiet >table.txt
[ "$(wc -l <table.txt)" -eq 8 ] || { cat table.txt; fail "not a row for 1, 2, 4 .. 64 processes"; }
awk 'NR > 1 && $2 != 6 * $1 { exit 1 }' table.txt || { cat table.txt; fail "not 6 images for each process"; }

# one process takes what its tasks and the program's own work take, where nothing else costs anything
"$spica" scale images.h5 --ranks 1 --per-rank 0 --generations 1 --task-cost 0 --point-cost 0 --json --quiet >one.json
awk -v all="$(field one.json seconds)" -v tasks="$(field one.json busy_seconds)" -v own="$(field one.json program)" -v files="$(field one.json files)" 'BEGIN {
    off = all - tasks - own - files
    exit !(all > 0 && off < 1e-6 + 1e-3 * all && off > -1e-6 - 1e-3 * all) }' || { cat one.json; fail "times do not add up"; }

# a slower network takes longer
seconds() {
    "$spica" scale images.h5 --ranks 16 --per-rank 6 --generations 1 --quiet "$@" | awk 'END { print $3 }'
}
awk -v fast="$(seconds)" -v slow="$(seconds --latency 100000)" 'BEGIN { exit !(slow > fast + 1.0) }' ||
    fail "the network does not matter"

# the check, on this process alone
"$spica" scale images.h5 --check --generations 3 --quiet | grep -qE '^1 ranks: measured [0-9.]+ s, replayed [0-9.]+ s, ' ||
    fail "no check"

status=0
"$spica" scale nowhere.h5 2>err >out || status=$?
[ $status -eq 1 ] && grep -q 'nowhere.h5' err && [ ! -s out ] || { cat err; fail "exit status $status for a missing file"; }
