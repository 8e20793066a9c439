#!/usr/bin/env bash
# For go test -toolexec: runs a tool of Go as it is, but for the one that puts in the
# counters of coverage. Those are atomic with the race detector, which takes them for
# what goroutines wait for each other with: it sees fewer races, and much of its time
# goes into them. Here they are written without its knowledge (decision 0055).
set -euo pipefail

tool=$1
shift
[[ ${tool##*/} == cover ]] || exec "$tool" "$@"
if [[ $1 == -V=full ]]; then # by which go tells what was built otherwise
	echo "$("$tool" "$@") counts norace"
	exit
fi
"$tool" "$@"
while [[ $1 != -outfilelist ]]; do shift; done
helper=$'\n//go:norace\nfunc _cover_count_(counter *uint32, n uint32) { *counter = n }'
while IFS= read -r file; do
	sed -E 's/_cover_atomic_\.(Add|Store)Uint32\(&([^,]*), /_cover_count_(\&\2, /g' "$file" >"$file.counted"
	mv "$file.counted" "$file"
	[[ -z $helper ]] || echo "$helper" >>"$file"
	helper=
done <"$2"
