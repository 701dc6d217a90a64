#!/usr/bin/env bash
# Collects the wheels that the extension brings: the server, what it needs, for CPython 3.11 to 3.13 on Linux x86-64,
# and pip to unpack them with. Usage: collect-wheels.sh PYTHON
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")"
rm -rf wheels.part
mkdir wheels.part
pip=("$python" -m pip --quiet --disable-pip-version-check)
PIP_CONSTRAINT=../constraints.txt "${pip[@]}" wheel --no-deps --wheel-dir wheels.part ..
"${pip[@]}" download --no-deps --dest wheels.part --constraint ../constraints.txt pip
for minor in 11 12 13; do
  "${pip[@]}" download --only-binary=:all: --implementation cp --python-version "3.$minor" --abi "cp3$minor" --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_12_x86_64 \
    --platform manylinux2010_x86_64 --constraint ../constraints.txt --dest wheels.part wheels.part/orch_server-*.whl
done
rm -rf wheels
mv wheels.part wheels
