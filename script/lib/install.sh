#!/bin/sh
# For `meson install`: what the built program says of itself, its manual pages and completions, goes below MESON_INSTALL_DESTDIR_PREFIX. $1: the program.
set -eu
share=$MESON_INSTALL_DESTDIR_PREFIX/share
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
"$1" man --dir "$pages" >/dev/null
for page in "$pages"/*; do
  mkdir -p "$share/man/man${page##*.}"
  install -m 644 "$page" "$share/man/man${page##*.}/"
done
zsh=$share/zsh/site-functions
[ "$MESON_INSTALL_PREFIX" != /usr ] || zsh=$share/zsh/vendor-completions
mkdir -p "$share/bash-completion/completions" "$zsh" "$share/fish/vendor_completions.d"
"$1" completion bash >"$share/bash-completion/completions/tutti"
"$1" completion zsh >"$zsh/_tutti"
"$1" completion fish >"$share/fish/vendor_completions.d/tutti.fish"
