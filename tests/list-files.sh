#!/bin/sh
# list-files.sh ROOT DIR PATTERN [EXCLUDED...]: the files under ROOT/DIR whose
# name fits PATTERN, one a line, sorted, as paths that start at ROOT. A folder
# that does not exist is an empty one. EXCLUDED are paths from ROOT: files, or
# folders of which nothing is listed. Called by the meson.build files.
set -eu
LC_ALL=C
export LC_ALL

root=$1 dir=$2 pattern=$3
shift 3
cd "$root"
[ -d "$dir" ] || exit 0
find "$dir" -type f -name "$pattern" | sort | while IFS= read -r file; do
	for not in "$@"; do
		case $file in
		"$not" | "$not"/*) continue 2 ;;
		esac
	done
	printf '%s\n' "$file"
done
