#!/usr/bin/env bash
# Builds what template.yaml deploys, into target/deploy: `bootstrap`, and the config beside it.
#
#   infra/build.sh [arm64|x86_64] [CONFIG]       # arm64 and infra/millstream.toml, if nothing is said
#
# BOOTSTRAP=FILE takes a binary that was built before, as a pipeline does that builds once and deploys often.
set -euo pipefail

architecture=${1:-arm64}
here=$(cd "$(dirname "$0")" && pwd)
config=${2:-$here/millstream.toml}
folder=$here/../target/deploy
# What a cold start has to load; and Lambda's console shows no code of larger functions.
limit=$((8 * 1024 * 1024))

fail() { echo "build.sh: $*" >&2; exit 1; }

case $architecture in
    arm64) machine=b7 ;;
    x86_64) machine=3e ;;
    *) fail "$architecture is no architecture of Lambda: use arm64 or x86_64" ;;
esac
[ -f "$config" ] || fail "there is no config $config"
# From here on it is read from another folder.
config=$(cd "$(dirname "$config")" && pwd)/$(basename "$config")

if [ -z "${BOOTSTRAP:-}" ]; then
    cargo lambda --version >/dev/null 2>&1 || fail "cargo-lambda is missing: pip install cargo-lambda==1.9.2 ziglang==0.17.1"
    cd "$here/.."
    flag=--arm64
    [ "$architecture" = arm64 ] || flag=--x86-64
    cargo lambda build --locked --profile lambda "$flag" --package millstream-processor --bin bootstrap
    BOOTSTRAP=${CARGO_TARGET_DIR:-target}/lambda/bootstrap/bootstrap
    size=$(gzip -c "$BOOTSTRAP" | wc -c)
    [ "$size" -le $limit ] || fail "$BOOTSTRAP has $size bytes zipped; $limit is the limit"
fi

# Two bytes of an ELF header say for which machine it is: a wrong one would only fail when it is invoked.
[ "$(od -An -tx1 -j18 -N1 "$BOOTSTRAP" | tr -d ' ')" = $machine ] || fail "$BOOTSTRAP is not for $architecture"

rm -rf "$folder"
mkdir -p "$folder"
cp "$BOOTSTRAP" "$folder/bootstrap"
chmod 755 "$folder/bootstrap"
cp "$config" "$folder/millstream.toml"
echo "target/deploy: $architecture, $(($(gzip -c "$BOOTSTRAP" | wc -c) / 1024)) KiB zipped"
