// The environment of a program that runs as another user, past those who make it that user: they are root, and a manifest's LD_PRELOAD or
// LOCPATH would be theirs too. Each variable goes by a name that means nothing, and gets its own back when the program's user has it.
// Called by process-launch.ts and process-exec.ts. Pure: values stand in the environment alone, where no other user sees them.

/** launch-check.ts keeps `selvedge_` for what is ours. */
const prefix = 'selvedge_env_';

/**
 * Arguments: names of variables, '--', then the command. Three names are bash's own, and cannot be set: they stay as bash says. A shell
 * would end at them.
 */
const UNPACK = `
while [ "$1" != -- ]; do
  case $1 in
  UID | EUID | BASH_VERSINFO) ;;
  *) eval "export $1=\\"\\$${prefix}$1\\"" ;;
  esac
  unset "${prefix}$1"
  shift
done
shift
case $1 in
*/*) [ -e "$1" ] ;;
*) command -v "$1" > /dev/null ;;
esac || {
  printf 'selvedge: %s: not found\\n' "$1" >&2
  exit 127
}
exec "$@"
`;

export interface Carried {
  /** For those on the way. */
  env: Record<string, string>;
  /** What becomes of a command for it to have them. */
  unpack(command: string[]): string[];
}

/** `own` are Selvedge's marks, under their own names all the way; `shell` is run as the program's user. */
export function carryEnvironment(
  shell: string,
  variables: Record<string, string>,
  own: Record<string, string>,
): Carried {
  const carried = Object.entries(variables).filter(([name]) => own[name] === undefined);
  const names = carried.map(([name]) => name);
  return {
    env: { ...Object.fromEntries(carried.map(([name, value]) => [prefix + name, value])), ...own },
    unpack: (command) => [shell, '-c', UNPACK, 'selvedge', ...names, '--', ...command],
  };
}
