#!/usr/bin/env bash
# Prints the name of the cluster that the tests of this checkout share; another checkout has another one.
echo "${DAVIT_TEST_CLUSTER:-t$(cd "$(dirname "$0")" && pwd -P | cksum | cut -d ' ' -f 1)}"
