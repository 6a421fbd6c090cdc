// The shell that stands between the daemon and a workload: it leads the session, outlives the daemon, and writes down how
// the workload ended. Called by process-engine.ts. Plain POSIX sh (dash, bash and busybox are tested); it never parses
// anything that a workload printed, and knows nothing but its folder.
//
// Chain of one launch; every arrow but the first keeps the pid:
//   shim → (fork) → [limits] → [unshare → names → unshare] → recorder → [unshare → room → setpriv] → workload
//   shim → (fork) → unshare → network → [limits] → recorder → … where it has a network of its own
//
// Names of shell variables start with `selvedge_` because a variable of the environment that a shell assigns is exported
// with its new value: launch-check.ts refuses that prefix in the environment.

import { NETWORK, NETWORK_BESIDE, NETWORK_OUTSIDE } from './process-network-scripts.ts';

/** The fields of /proc/<pid>/stat after the command name (which may hold spaces, ')' and newlines): state is the first. */
const STAT = `
selvedge_stat() {
  selvedge_line=
  { while IFS= read -r selvedge_part || [ -n "$selvedge_part" ]; do
    selvedge_line="$selvedge_line $selvedge_part"
  done < "/proc/$1/stat"; } 2>/dev/null
  selvedge_rest
}
selvedge_rest() {
  # Not with ##: shells take quadratic time for it.
  while :; do
    case $selvedge_line in *') '*) selvedge_line=\${selvedge_line#*') '} ;; *) return ;; esac
  done
}
selvedge_field() { shift "$1"; selvedge_value=$1; }
selvedge_record() {
  selvedge_stat "$2"
  selvedge_field 20 $selvedge_line
  selvedge_boot=
  read -r selvedge_boot < /proc/sys/kernel/random/boot_id
  printf 'pid=%s\\nstart=%s\\nboot=%s\\nend\\n' "$2" "$selvedge_value" "$selvedge_boot" > "$1"
}
`;

/**
 * Arguments: run folder, paths of mv and cat, then the command. Signals are caught, not ignored: a caught signal is back at its
 * default in the child, an ignored one would stay ignored in the workload. The command runs in the foreground, since a
 * background one would start with SIGINT and SIGQUIT ignored.
 *
 * The shell says 128+n both for signal n and for an exit with that status. It also prints a notice ("Terminated") for a
 * foreground child that a signal ended: that goes to a file of its own, and `told` says whether there was one. (The subshell
 * is there because dash would print the notice through the command's own redirections.)
 *
 * What is left of the session is killed before the exit is written: an instance has ended when all of it has.
 * (All of /proc comes through one cat: the shell's own `read` takes a system call for each byte.)
 * A signal to the group can end mv as well, so it is tried again.
 */
const SHIM = `
trap : HUP INT QUIT USR1 USR2 PIPE ALRM TERM
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
selvedge_run=$1 selvedge_move=$2 selvedge_cat=$3
shift 3
${STAT}
selvedge_record "$selvedge_run/shim" "$$"
exec 3>&2 2>"$selvedge_run/notice"
(exec "$@" 2>&3 3>&-)
selvedge_status=$?
exec 2>/dev/null 3>&-
selvedge_round=0 selvedge_left=yes selvedge_ifs=$IFS
while [ -n "$selvedge_left" ] && [ "$selvedge_round" -lt 40 ]; do
  selvedge_left= selvedge_line=
  selvedge_round=$((selvedge_round + 1))
  IFS='
'
  for selvedge_part in $("$selvedge_cat" /proc/[0-9]*/stat); do
    selvedge_line=$selvedge_line$selvedge_part
    case $selvedge_line in *') '*) ;; *) continue ;; esac
    selvedge_pid=\${selvedge_line%% *}
    selvedge_rest
    IFS=$selvedge_ifs
    selvedge_field 4 $selvedge_line
    case $selvedge_line in [ZX]*) selvedge_value= ;; esac
    selvedge_line=
    [ "$selvedge_value" = "$$" ] && [ "$selvedge_pid" != "$$" ] || continue
    kill -KILL "$selvedge_pid" && selvedge_left=yes
  done
  IFS=$selvedge_ifs
done
selvedge_told=no
[ -s "$selvedge_run/notice" ] && selvedge_told=yes
printf 'status=%s\\ntold=%s\\nend\\n' "$selvedge_status" "$selvedge_told" > "$selvedge_run/exit.next"
selvedge_round=0
while [ ! -e "$selvedge_run/exit" ] && [ "$selvedge_round" -lt 50 ]; do
  "$selvedge_move" -f "$selvedge_run/exit.next" "$selvedge_run/exit"
  selvedge_round=$((selvedge_round + 1))
done
exit 0
`;

/**
 * Arguments: run folder, then the command. Writes down the pid that the workload is about to have, and becomes it. `last` is one
 * compound command, so that the shell has read all of it before it begins.
 */
const recorder = (last: string): string => `
selvedge_run=$1
shift
${STAT}
selvedge_record "$selvedge_run/workload" "$$"
case $1 in
*/*) [ -e "$1" ] ;;
*) command -v "$1" > /dev/null ;;
esac || {
  printf 'selvedge: %s: not found\n' "$1" >&2
  exit 127
}
{
${last}
exec "$@"
}
`;

const RECORDER = recorder('');

/** The same for a shell that can close descriptors above 9, which dash cannot: the workload gets three and no more. */
const CLOSING_RECORDER = recorder(`
for selvedge_entry in /proc/self/fd/*; do
  selvedge_entry=\${selvedge_entry##*/}
  [ "$selvedge_entry" -gt 2 ] && eval "exec $selvedge_entry>&-"
done`);

/** Arguments: hosts file, then the command. In a mount namespace of its own; a refused mount leaves the box's own names. */
const NAMES = `
"$1" --bind "$2" /etc/hosts || echo 'selvedge: the names of services are not available to this instance: /etc/hosts could not be replaced' >&2
shift 2
exec "$@"
`;

/**
 * Arguments: KiB of data that a process may have or '-', the `cgroup.procs` of its groups, '--', then the command. A limit that was asked
 * for and cannot be set ends it: 125 is what other launchers (env, docker) say when they themselves fail.
 */
const LIMITS = `
selvedge_data=$1
shift
while [ "$1" != -- ]; do
  echo "$$" > "$1" || exit 125
  shift
done
shift
[ "$selvedge_data" = - ] || ulimit -d "$selvedge_data" || exit 125
exec "$@"
`;

/** Arguments: a command that is run beside a workload. A program that is not there says so, where the spawn of one would not. */
const EXEC = `
case $1 in
*/*) [ -e "$1" ] ;;
*) command -v "$1" > /dev/null ;;
esac || {
  printf 'selvedge: %s: not found\n' "$1" >&2
  exit 127
}
exec "$@"
`;

/**
 * Arguments: paths of stty and tty, rows and columns, the SHELL of the environment or '-', then the command. Runs at a terminal that
 * script(1) has just made, which knows no size and takes SHELL for itself. Descriptor 3 is told which terminal it is.
 */
const TERMINAL = `
"$1" sane rows "$3" columns "$4"
"$2" >&3
exec 3>&-
case $5 in
-) unset SHELL ;;
*) SHELL=$5 ;;
esac
shift 5
exec "$@"
`;

/**
 * Arguments: paths of mount and mkdir, an empty folder, the folder that is hidden, folders in the hidden one that stay, '--', then the
 * command. In a mount namespace of its own, as root: where the hidden folder was is then a folder with the way to those that stay, and
 * nothing else. Their paths are the same as outside. It enters no folder but the root: as root it would be let in everywhere, through
 * /proc out of the namespace too.
 */
const ROOM = `
selvedge_mount=$1 selvedge_mkdir=$2 selvedge_room=$3 selvedge_hidden=$4
shift 4
selvedge_fail() { echo "selvedge: its folder cannot be shown to its user: $1" >&2; exit 125; }
"$selvedge_mount" -t tmpfs -o mode=0755,size=1m,nosuid,nodev selvedge "$selvedge_room" || selvedge_fail 'no tmpfs'
umask 022
while [ "$1" != -- ]; do
  selvedge_place=$selvedge_room\${1#"$selvedge_hidden"}
  "$selvedge_mkdir" -p "$selvedge_place" && "$selvedge_mount" --bind "$1" "$selvedge_place" || selvedge_fail "$1"
  shift
done
shift
"$selvedge_mount" --rbind "$selvedge_room" "$selvedge_hidden" || selvedge_fail "$selvedge_hidden"
cd / || selvedge_fail /
exec "$@"
`;

/** The scripts by the names of their files: from files, so that `ps` shows one readable line for each shim. */
export const SCRIPTS = {
  'shim.sh': SHIM,
  'workload.sh': RECORDER,
  'closing-workload.sh': CLOSING_RECORDER,
  'limits.sh': LIMITS,
  'names.sh': NAMES,
  'exec.sh': EXEC,
  'terminal.sh': TERMINAL,
  'room.sh': ROOM,
  'network.sh': NETWORK,
  'network-outside.sh': NETWORK_OUTSIDE,
  'network-beside.sh': NETWORK_BESIDE,
};

/** What the command line of a launch is made of; absolute paths, so that an instance's PATH has no say in them. */
export interface ShimTools {
  shell: string;
  move: string;
  cat: string;
  /** Shell and its leading arguments (`busybox sh`) that can run closing-workload.sh; undefined where there is none. */
  closer: string[] | undefined;
  /** Folder of the scripts. */
  scripts: string;
}

/** The whole command line of one launch. `wrap` puts the command into its namespaces (process-names.ts). */
export function shimCommand(
  { shell, move, cat, closer, scripts }: ShimTools,
  runFolder: string,
  wrap: (command: string[]) => string[],
  command: string[],
): string[] {
  const recorded =
    closer === undefined
      ? [shell, `${scripts}/workload.sh`, runFolder, ...command]
      : [...closer, `${scripts}/closing-workload.sh`, runFolder, ...command];
  return [shell, `${scripts}/shim.sh`, runFolder, move, cat, ...wrap(recorded)];
}

/** The command behind its limits; unchanged when it has none. */
export function limitedCommand(
  { shell, scripts }: ShimTools,
  groups: readonly string[],
  dataBytes: number | undefined,
  command: string[],
): string[] {
  if (groups.length === 0 && dataBytes === undefined) return command;
  const data = dataBytes === undefined ? '-' : `${Math.floor(dataBytes / 1024)}`;
  return [shell, `${scripts}/limits.sh`, data, ...groups.map((folder) => `${folder}/cgroup.procs`), '--', ...command];
}

/** Signals by number on Linux, those that end a process. */
const SIGNALS: Record<number, string> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  10: 'SIGUSR1',
  11: 'SIGSEGV',
  12: 'SIGUSR2',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  16: 'SIGSTKFLT',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  26: 'SIGVTALRM',
  27: 'SIGPROF',
  29: 'SIGIO',
  30: 'SIGPWR',
  31: 'SIGSYS',
};

/** Shells say nothing about these two: they are how pipelines and interactive commands end. */
const SILENT = new Set([2, 13]);

/**
 * Status or signal, from what the shell said. With a notice it was a signal. Without one it was an exit, except for 130 and
 * 141, which stand for SIGINT and SIGPIPE by convention: a program that itself exits with exactly those is taken at its word.
 */
export function readEnd(status: number, told: boolean): { status: number | undefined; signal: string | undefined } {
  const number = status - 128;
  if (number > 0 && number < 65 && (told || SILENT.has(number))) {
    return { status: undefined, signal: SIGNALS[number] ?? `SIG${number}` };
  }
  return { status, signal: undefined };
}
