#!/bin/sh
# man.sh [ROOT]: mandoc finds nothing to say about the manual pages, from
# "warning" upwards (style: what the .Dd of a page is, how long a line is).
set -eu

command -v mandoc >/dev/null || {
	echo "skipped: mandoc is not installed"
	exit 77
}
cd "${1:-$(dirname "$0")/../..}/man"
set -- *.[1-8]
[ -e "$1" ] || {
	echo "skipped: no manual page yet"
	exit 77
}
# A page may refer to one of another package that is not installed here.
mandoc -T lint -W warning "$@"
