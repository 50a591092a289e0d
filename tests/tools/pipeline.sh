# SPDX-License-Identifier: BSD-3-Clause
# pipeline.sh SCRIPT SPICA -- run a pipeline test in a fresh folder, which stays behind for a look if the test fails.
# SCRIPT has the functions of functions.sh, and SPICA as its $1.
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/spica-test.XXXXXX")
functions=$(dirname "$0")/functions.sh
cd "$folder"
# shellcheck disable=SC2016
status=0
sh -eu -c 'script=$2; . "$1"; shift 2; . "$script"' sh "$functions" "$1" "$2" || status=$?
case $status in
0 | 77) rm -rf "$folder" ;; # 77: everything was left out
*) echo "failed; its files are in $folder" ;;
esac
exit $status
