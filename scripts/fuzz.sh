#!/usr/bin/env bash
# Runs each fuzz target of the module for a while, one after the other, as go
# test takes one at a time: fuzz.sh TIME [NAME]
set -euo pipefail

time=$1 name=${2:-}

found=
while IFS=: read -r file target; do
	if [[ -n $name && $target != "$name" ]]; then
		continue
	fi
	found=yes
	echo "== $target (${file%/*})"
	go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "${file%/*}" </dev/null
done < <(grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . |
	sed -E 's/^([^:]+):func (Fuzz[A-Za-z0-9_]*).*/\1:\2/' | sort)

if [[ -z $found ]]; then
	echo "fuzz: no target${name:+ $name}" >&2
	exit 1
fi
