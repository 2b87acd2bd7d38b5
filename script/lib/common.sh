# shellcheck shell=bash
# What the scripts share; sourced first. Goes to the project's folder, stops at the first error, and brings:
#   say TEXT        a line for people (stderr)
#   fail TEXT       the same, then exit 1
#   step TEXT CMD.. runs CMD quietly under one line with its time; shows its output when it fails or VERBOSE is set.
#                   A function given as CMD joins its commands with &&: inside it the shell does not stop at errors.
set -euo pipefail
# shellcheck disable=SC2034  # where the caller was: for scripts that run something there
CALLER_DIR=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else BOLD='' DIM='' RED='' GREEN='' PLAIN=''; fi

say() { printf '%s\n' "$*" >&2; }
fail() { say "${RED}${0##*/}: $*${PLAIN}"; exit 1; }

# The comment block below a script's first line is its help.
usage() { sed -n '2,/^[^#]/{/^# \{0,1\}/s///p}' "$0"; }

step() {
  local text=$1 log started=$SECONDS rc=0
  shift
  if [ -n "${VERBOSE:-}" ]; then
    say "${BOLD}$text${PLAIN}"
    "$@" >&2
    return
  fi
  log=$(mktemp)
  [ -t 2 ] && printf '%s' "  $text ..." >&2
  "$@" >"$log" 2>&1 || rc=$?
  [ -t 2 ] && printf '\r\e[K' >&2
  if [ $rc -eq 0 ]; then
    say "  ${GREEN}✓${PLAIN} $text ${DIM}$((SECONDS - started)) s${PLAIN}"
  else
    say "  ${RED}✗ $text${PLAIN} (exit $rc):"
    cat "$log" >&2
  fi
  rm -f "$log"
  return $rc
}
