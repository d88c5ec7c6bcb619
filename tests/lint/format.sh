#!/bin/sh
# format.sh [ROOT]: every .c and .h is as clang-format with .clang-format writes
# it. `format.sh --fix FILE...` rewrites the files named.
set -eu

command -v clang-format >/dev/null || {
	echo "skipped: clang-format is not installed"
	exit 77
}
if [ "${1-}" = --fix ]; then
	shift
	exec clang-format -i "$@"
fi
cd "${1:-$(dirname "$0")/../..}"
find backends fs sync tests -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
