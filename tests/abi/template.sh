#!/usr/bin/env bash
# template.sh BUILD: installs the SDK into a folder of its own, copies sdk/template out of the tree, builds it with cmake
# and with make, checks both, and asks the one for an answer. Nothing of the tree is reached but through the prefix.
set -eu -o pipefail

build=$1
folder=$(mktemp -d /tmp/maas-template-XXXXXX)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/prefix

cmake --install "$build" --prefix "$prefix" >"$folder/install.log"
for file in include/maas/plugin.h include/maas/ext/explain.h share/cmake/maas/maas-config.cmake \
    share/pkgconfig/maas.pc share/doc/maas/README.md share/doc/maas/ABI.md share/maas/plugin.map bin/maas-plugin-check; do
    [ -f "$prefix/$file" ] || { echo "not installed: $file"; exit 1; }
done
mv "$prefix" "$folder/moved" # nothing knows where it was installed
prefix=$folder/moved

cp -r "$prefix/share/maas/template" "$folder/with-cmake"
cp -r "$prefix/share/maas/template" "$folder/with-make"

cd "$folder/with-cmake"
cmake -B build -DCMAKE_PREFIX_PATH="$prefix" >"$folder/cmake.log"
cmake --build build >>"$folder/cmake.log"
ctest --test-dir build --output-on-failure

cd "$folder/with-make"
PKG_CONFIG_PATH=$prefix/share/pkgconfig make -s check
[ -f com.example.centroid.so ]

answer=$("$prefix/bin/maas-plugin-check" run com.example.centroid.so --model model --input request.json)
echo "$answer"
grep -qF '"data":["north","east"]' <<<"$answer"
