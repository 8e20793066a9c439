#!/usr/bin/env bash
# Installs the programs that the tests start, where they are missing: with
# apt-get, dnf or brew. The tests start servers of their own, so no service that
# a package brings is left running or enabled. What is there is left alone.
set -euo pipefail

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
aside=$policy.before-fulloncache
mark="written by fulloncache's install-servers.sh, to be removed by it"

main() {
	# need COMMAND APT DNF BREW [SERVICE]: "-" where nothing is to be installed.
	need redis-server redis-server redis redis redis-server
	need initdb postgresql postgresql-server postgresql@17 postgresql
	need cc gcc gcc - # the race detector links with it
	at_least 7 redis-server
}

need() {
	local command=$1 apt=$2 dnf=$3 brew=$4 service=${5:-}
	if have "$command"; then
		return
	fi
	if have apt-get; then
		with_apt "$apt" "$service"
	elif have dnf; then
		with dnf "$dnf" as_root dnf install -y "$dnf"
	elif have brew; then
		with brew "$brew" brew install "$brew"
	else
		fail "$command is missing, and there is no apt-get, dnf or brew to install it with: install it by hand"
	fi
	have "$command" || fail "$command is missing still: install it by hand"
}

# have finds a command on PATH, or where Debian, postgresql.org's packages or
# Homebrew put those of a version.
have() {
	command -v "$1" >/dev/null || compgen -G "/usr/lib/*/*/bin/$1" >/dev/null ||
		compgen -G "/usr/pgsql-*/bin/$1" >/dev/null ||
		compgen -G "/opt/homebrew/opt/postgresql@*/bin/$1" >/dev/null ||
		compgen -G "/usr/local/opt/postgresql@*/bin/$1" >/dev/null
}

with_apt() {
	local package=$1 service=$2
	guard
	with apt-get "$package" update_and_install "$package"
	unguard
	if [[ -n $service ]] && have systemctl; then
		as_root systemctl disable "$service" >>"$log" 2>&1 || true # not enabled: nothing to do
	fi
}

update_and_install() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends \
			-o DPkg::Lock::Timeout=120 "$1"
}

# guard forbids packages to start services: Debian's way is a policy that
# answers 101. One that stands there already waits aside until unguard, which a
# run that was cut off leaves to the next.
guard() {
	if [[ -e $policy && ! -e $aside ]] && ! grep -qs "$mark" "$policy"; then
		as_root mv "$policy" "$aside"
	fi
	printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}

unguard() {
	if [[ -e $aside ]]; then
		as_root mv "$aside" "$policy"
	elif grep -qs "$mark" "$policy"; then
		as_root rm -f "$policy"
	fi
}

# with MANAGER PACKAGE COMMAND…: runs the command, and shows what it printed
# when it fails.
with() {
	local manager=$1 package=$2
	shift 2
	[[ $package != - ]] || return 0
	echo "installing $package with $manager" >&2
	if ! "$@" >>"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		fail "$manager could not install $package"
	fi
}

as_root() {
	if [[ $EUID -eq 0 ]]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		fail "not root, and no sudo to become it: install the missing programs by hand, or run this as root"
	fi
}

# at_least MAJOR COMMAND: refuses an older one.
at_least() {
	local version
	version=$("$2" --version | sed -nE 's/.* v=([0-9]+)\..*/\1/p')
	[[ ${version:-0} -ge $1 ]] || fail "$2 is older than version $1: $("$2" --version)"
}

fail() {
	echo "install-servers: $*" >&2
	exit 1
}

finish() {
	unguard
	rm -f "$log"
}

trap finish EXIT
main
