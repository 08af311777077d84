# Sourced through BASH_ENV by the bash that reads the shell blocks of the docs. Nothing
# is run: bash expands variables, loops and continued lines, and each command is recorded
# in the file $RECORD as NUL-terminated fields: line, names of SELFY_ variables, number
# of words, words. Only bash's builtins and the functions below are executed.
set -f -u
PATH=/dev/null

command_not_found_handle() {
  printf '%s\0' "${DOC_LINE:-${BASH_LINENO[0]}}" "${!SELFY_*}" "$#" "$@" >> "$RECORD"
  if [[ $# == 3 && $1 == python && $2 == -c ]]; then
    case $3 in  # used in $(...)
      'import mmaction; print(mmaction.__path__[0])') echo "$MMACTION" ;;
      'import selfy_mmaction; print(selfy_mmaction.__path__[0])') echo "$PLUGIN" ;;
    esac
  fi
}

# Builtins that would act on this machine.
cd() { command_not_found_handle cd "$@"; }
exec() { command_not_found_handle exec "$@"; }
kill() { command_not_found_handle kill "$@"; }
source() { command_not_found_handle source "$@"; }

# Used by mmaction2's scripts, in $(...).
dirname() { echo "${1%/*}"; }
