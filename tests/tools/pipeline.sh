# SPDX-License-Identifier: BSD-3-Clause
# pipeline.sh SCRIPT SPICA -- run a pipeline test in a fresh folder, which stays behind for a look if the test fails.
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/spica-test.XXXXXX")
cd "$folder"
if sh -eu "$1" "$2"; then
    rm -rf "$folder"
else
    echo "failed; its files are in $folder"
    exit 1
fi
