# SPDX-License-Identifier: BSD-3-Clause
# refusals.sh TOOLS COMPILER -- the checks of the source tree can fail: each bad file below is refused, with its reason.
set -eu
tools=$1 compiler=$2
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree/lib/base" "$tree/lib/num" "$tree/lib/io" "$tree/apps/spi/flow" "$tree/apps/spi/cli" "$tree/apps/spi/lost"
cat >"$tree/CMakeLists.txt" <<'END'
sp_library(base lib USES m)
sp_library(num lib NEEDS base USES m)
sp_library(io lib NEEDS base)
sp_library(flow apps/spi NEEDS base num io)
sp_library(cli apps/spi NEEDS base num io flow)
END
cat >"$tree/lib/num/good.c" <<'END'
/* strcpy(a, b) in a comment,
 * exit(1) in another */
#include "base/good.h"
#include "num/good.h"
const char *text = "printf(\"%d\", rand())"; // system("no")
void sprintf_like(int exit); /* names that only look alike */
END
echo '#include "flow/run.h"' >"$tree/apps/spi/main.c"
echo 'void f(void) { printf("the command line may print"); exit(0); }' >"$tree/apps/spi/cli/good.c"

for check in check-layers check-bans; do
    "$tools/$check" "$tree" || { echo "$check refuses a good tree"; exit 1; }
done

# refused CHECK FILE LINE REASON: FILE with that one line must be refused with a message that holds REASON
refused() {
    echo "$3" >"$tree/$2"
    if said=$("$tools/$1" "$tree"); then
        echo "$1 accepts '$3' in $2"
        exit 1
    fi
    case "$said" in
    "$2:1: "*"$4"*) ;;
    *) echo "$1 refuses '$3' in $2 for another reason: $said"; exit 1 ;;
    esac
    rm "$tree/$2"
}

refused check-layers lib/base/bad.h '#include "num/fft.h"' 'num is not among its NEEDS'
refused check-layers lib/num/bad.c '# include "io/mrc.h"' 'io is not among its NEEDS'
refused check-layers lib/io/bad.c '#include "mrc.h"' 'write "io/mrc.h"'
refused check-layers apps/spi/flow/bad.c '#include "cli/spica.h"' 'cli is not among its NEEDS'
refused check-layers apps/spi/flow/bad.c '#include "io/truth.h"' 'never looks at the truth'
refused check-layers apps/spi/flow/bad.c '#include <starpu.h>' 'lib/run alone'
refused check-layers apps/spi/flow/bad.c '#include <hdf5.h>' 'lib/io alone'
refused check-layers apps/spi/lost/bad.c 'int i;' 'belongs to no layer'

refused check-bans lib/num/bad.c 'void f(char *a) { strcpy(a, "b"); }' 'use snprintf'
refused check-bans lib/num/bad.c '/* why */ int i = rand ();' 'use base/rng.h'
refused check-bans apps/spi/cli/bad.c 'int i = atoi("1");' 'cannot report errors'
refused check-bans lib/io/bad.c 'void f(void) { printf("x"); }' 'base/log.h'
refused check-bans lib/io/bad.c 'void f(void) { fputs("x", stderr); }' 'base/log.h'
refused check-bans lib/num/bad.c '#pragma omp parallel for reduction(+ : sum)' 'number of threads'
refused check-bans apps/spi/flow/bad.c 'void f(void) { exit(1); }' 'sp_status'

# globals CODE REASON: like refused, for check-globals; without REASON the code must pass
globals() {
    echo "$1" >"$tree/sample.c"
    "$compiler" -c "$tree/sample.c" -o "$tree/sample.o"
    said=$("$tools/check-globals" "$tree/sample.o") && said="accepted"
    case "$said" in
    *"${2:-accepted}"*) ;;
    *) echo "check-globals, given '$1': $said"; exit 1 ;;
    esac
}

globals 'static const int i = 1; const char *const names[] = {"a"}; _Thread_local int mine; int f(void) { return i; }'
globals 'int f(void) { static int calls; return ++calls; }' 'is a mutable global'
globals 'int table[2] = {1, 2};' 'table is a mutable global'
