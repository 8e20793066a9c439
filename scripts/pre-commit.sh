#!/usr/bin/env bash
# The git hook that "make hooks" installs: what CI checks, on what is to be committed.
# "git commit --no-verify" goes past it.
set -euo pipefail

# git sets these for its hooks; the tests run git of their own nowhere, but go does.
unset GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE
cd "$(git rev-parse --show-toplevel)"
exec make ci
