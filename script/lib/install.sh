#!/bin/sh
# For `meson install`: what the program says of itself, its manual pages and completions, goes beside it, below MESON_INSTALL_DESTDIR_PREFIX.
set -eu
share=$MESON_INSTALL_DESTDIR_PREFIX/share program=$MESON_INSTALL_DESTDIR_PREFIX/bin/tutti
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
"$program" man --dir "$pages" >/dev/null
for page in "$pages"/*; do
  mkdir -p "$share/man/man${page##*.}"
  install -m 644 "$page" "$share/man/man${page##*.}/"
done
zsh=$share/zsh/site-functions
[ "$MESON_INSTALL_PREFIX" != /usr ] || zsh=$share/zsh/vendor-completions
mkdir -p "$share/bash-completion/completions" "$zsh" "$share/fish/vendor_completions.d"
"$program" completion bash >"$share/bash-completion/completions/tutti"
"$program" completion zsh >"$zsh/_tutti"
"$program" completion fish >"$share/fish/vendor_completions.d/tutti.fish"
