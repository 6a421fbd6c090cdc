#!/bin/sh
# Builds the images of app-docker.yaml with nothing from a registry: a base of this box's Node.js and the libraries that it needs,
# and on it one image for each microservice. Needs Docker (DOCKER_HOST counts) and Node.js 18 or newer; NODE names another binary.
set -eu
cd "$(dirname "$0")/.."
node=${NODE:-$(command -v node)}
base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT

mkdir -p "$base/image/bin" "$base/image/etc" "$base/image/tmp"
cp -L "$node" "$base/image/bin/node"
# Each library where the binary looks for it, the loader included.
ldd "$node" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/.*ld-.*\) => \/.*/\1/p' |
  sort -u | while read -r library; do
  mkdir -p "$base/image$(dirname "$library")"
  cp -L "$library" "$base/image$library"
done
# Names: the container's own hosts file, then its resolver.
echo 'hosts: files dns' > "$base/image/etc/nsswitch.conf"
echo 'node:x:1000:1000::/tmp:/bin/node' > "$base/image/etc/passwd"
cp docker/base.Dockerfile "$base/Dockerfile"

docker build --quiet --tag selvedge-example/node "$base"
for microservice in sensor monitor dashboard; do
  docker build --quiet --file "docker/$microservice.Dockerfile" --tag "selvedge-example/cold-chain-$microservice" .
done
