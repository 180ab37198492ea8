#!/usr/bin/env bash
# Prints the folder where downloaded and built test servers are kept: outside the repository, and readable by the
# unprivileged account that runs PostgreSQL (which root's home is not).
if [ -n "${DAVIT_TEST_CACHE:-}" ]; then
  echo "$DAVIT_TEST_CACHE"
elif [ "$(id -u)" -eq 0 ]; then
  echo /var/cache/davit-test
else
  echo "${XDG_CACHE_HOME:-$HOME/.cache}/davit-test"
fi
