// The systemd unit of the daemon as text, and back. Pure; called by install.ts and uninstall.ts. What the unit confines holds for
// workloads too: they are the daemon's children, and must be able to do their work and to outlive it.

import { mustBeMendedStatus } from './up-failure.ts';

/** What `install` was told, as far as the unit depends on it. */
export interface ToldSettings {
  /** Absolute paths of Node.js and of the program's script, and the script's arguments. */
  command: string[];
  /** The user that the daemon runs as; undefined is root. */
  user?: string;
  dataFolder: string;
}

/** All that the unit's text depends on. */
export interface UnitSettings extends ToldSettings {
  /** Variables of the daemon's environment; workloads do not get them. */
  environment: Record<string, string>;
}

export const unitName = 'selvedge.service';

/** The daemon's status after `selvedge down`: systemd must not start it again then, whatever else it restarts for. */
export const downStatus = 77;

/**
 * Where the token waits until the box has joined. Not in the data folder: systemd reads it as root, so it must not be in the hands of
 * the user that the daemon runs as.
 */
export const tokenFile = '/etc/selvedge/token.env';

/** systemd.service(5), "Command lines": quoted, with % and $ doubled. */
function quoteArgument(text: string): string {
  const escaped = text.replace(/["\\]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$');
  return `"${escaped}"`;
}

/** A path in a setting that is no command line: specifiers count there, quotes do not. */
const path = (text: string): string => text.replaceAll('%', '%%');

/**
 * As root: what the engines and the service network need, and what a workload may expect of root in a container. Left out, so that
 * neither the daemon nor a workload can: load modules, read raw memory or ports, set the clock, reboot, see foreign packets.
 */
const rootCapabilities = [
  'CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID',
  'CAP_KILL CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_SETFCAP CAP_SYS_CHROOT',
  'CAP_NET_BIND_SERVICE CAP_NET_ADMIN',
  'CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_SYS_NICE CAP_SYS_RESOURCE',
];

const asRoot = `# NET_ADMIN: addresses of services. SYS_ADMIN: a mount namespace for each workload, with its own /etc/hosts and files.
# SYS_PTRACE: whose process is this (/proc). SYS_NICE, SYS_RESOURCE: for workloads that control machines.
# Missing on purpose: modules, raw memory and ports, the clock, reboot, raw packets (NET_RAW).
${rootCapabilities.map((line) => `CapabilityBoundingSet=${line}`).join('\n')}
# What workloads are wrapped in. No user namespaces: for root they only widen what of the kernel can be attacked.
RestrictNamespaces=mnt net pid ipc uts cgroup
`;

const asUser = `# An ordinary user needs none; those inside a user namespace of its own do not count here.
CapabilityBoundingSet=
# Workloads get their own /etc/hosts by a user and a mount namespace.
RestrictNamespaces=user mnt
`;

/** The unit's text. The same settings give the same text. */
export function unitText(settings: UnitSettings): string {
  const { command, user, dataFolder, environment } = settings;
  const variables = Object.entries(environment).map(([name, value]) => `Environment=${name}=${value}\n`);
  return `# Written by \`selvedge install\`; \`selvedge uninstall\` removes it. Put changes of your own into a drop-in: systemctl edit selvedge

[Unit]
Description=Selvedge, this box's part of a fabric
# Not network-online.target: without any network, this box still starts what it runs.
After=network.target docker.service podman.socket
RequiresMountsFor=${path(dataFolder)}
# Never give up: nobody may be near to start it again.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${command.map(quoteArgument).join(' ')}
${user === undefined ? '' : `User=${user}\n`}# Of the daemon alone: workloads do not get it. Saves memory.
${variables.join('')}# Is there until the box has joined. Read by systemd, so that the token is in no argument and no unit.
EnvironmentFile=-${tokenFile}
SyslogIdentifier=selvedge
Restart=always
# A daemon that ran is back at once. One that cannot start waits by itself, longer each time (up to a minute): it counts its starts here.
RestartSec=1
RuntimeDirectory=selvedge-starts
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=restart
# Starting again does not mend these. 2: wrong usage. ${mustBeMendedStatus}: a file of the data folder is damaged, the journal says which.
# ${downStatus}: ended by \`selvedge down\`.
RestartPreventExitStatus=2 ${downStatus} ${mustBeMendedStatus}
SuccessExitStatus=${downStatus}
# Workloads outlive the daemon: only the daemon itself is ended, and the next one adopts them.
KillMode=process
# The daemon needs a moment to close its store; it waits for no workload when systemd ends it.
TimeoutStopSec=30
# A workload that ran out of memory is the daemon's business, and no reason to end the unit.
OOMPolicy=continue
# Workloads count here too; theirs is the box's own limit.
TasksMax=infinity
# Files and connections: the daemon raises itself to the second, and older systemd gives it 4096. The first is what a program may expect.
LimitNOFILE=1024:524288
# No UMask: workloads would inherit it. The daemon gives each of its files its mode.

# --- Confinement ---
# Nothing here may give the unit a mount namespace of its own: files that this daemon mounts for a workload must be seen by the
# next daemon, and what the box mounts later by workloads. So there is no ProtectSystem, ProtectHome, PrivateTmp, PrivateDevices,
# ProtectKernelTunables, ProtectKernelModules, ProtectKernelLogs, ProtectControlGroups, ProtectProc, ProtectHostname, ReadWritePaths.
# No MemoryDenyWriteExecute: V8 compiles. No ProtectClock: it would close /dev to all but the clock. No SystemCallArchitectures,
# RestrictRealtime, RestrictAddressFamilies: workloads may be 32-bit, control machines, speak CAN or Bluetooth.

# No program here gains rights by its set-uid bit or file capabilities.
NoNewPrivileges=yes
${user === undefined ? asRoot : asUser}# A program that anybody may run as its owner is not made here.
RestrictSUIDSGID=yes
# Another execution domain is only good for getting round the rest.
LockPersonality=yes
# Calls that none of them needs, refused before the kernel looks at them.
SystemCallFilter=~@module @raw-io @reboot @swap @obsolete @cpu-emulation
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target

[X-Selvedge]
# systemd reads no section with X-: what \`install\` was told, to compare with.
Settings=${JSON.stringify({ command, user, dataFolder })}
`;
}

/** The settings in a unit's text; undefined when `install` did not write it. */
export function settingsOf(text: string): ToldSettings | undefined {
  const line = /^\[X-Selvedge\]$[\s\S]*?^Settings=(.*)$/m.exec(text)?.[1];
  if (line === undefined) return undefined;
  try {
    const { command, user, dataFolder } = JSON.parse(line) as Partial<ToldSettings>;
    if (!Array.isArray(command) || typeof dataFolder !== 'string') return undefined;
    return { command, ...(user !== undefined && { user }), dataFolder };
  } catch {
    return undefined;
  }
}

/** Which settings differ, in words; empty when none does. */
export function settingsDifferences(before: ToldSettings, after: ToldSettings): string[] {
  const rows: [string, string, string][] = [
    ['data folder', before.dataFolder, after.dataFolder],
    ['user', before.user ?? 'root', after.user ?? 'root'],
    ['command', before.command.join(' '), after.command.join(' ')],
  ];
  return rows.filter(([, one, other]) => one !== other).map(([what, one, other]) => `${what}: ${one}, now ${other}`);
}
