// What a launch may look like, and the environment that a workload gets. Pure; called by the engines before they touch
// the disk. A plan is signed, but a mistake in it must not overwrite a file of the engine or start something half.

import { isIP } from 'node:net';
import type { FileMount, Launch } from './engine.ts';
import { LaunchRefusedError } from './errors.ts';
import {
  COMMAND_BYTES_MAX,
  ENVIRONMENT_BYTES_MAX,
  ENVIRONMENT_VARIABLE_BYTES_MAX,
  HOSTS_LINES_MAX,
  INSTANCE_NAME_CHARACTERS_MAX,
  LAUNCH_FILE_BYTES_MAX,
  LAUNCH_FILES_MAX,
} from './limits.ts';

/** Of the daemon's own environment a workload gets these and nothing else: the daemon's may hold secrets. */
const INHERITED = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'];
/** Where the daemon has no PATH at all (a bare service manager). */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Variables that steer a shell: they would act on the shim, or be lost in it. */
const SHELL_VARIABLES = new Set(['IFS', 'LINENO', 'OPTIND', 'PPID', 'SHELLOPTS', 'BASHOPTS', 'BASH_ENV']);
/** Names in an instance's folder that are the engine's. */
const ENGINE_FILES = /^(run|(stdout|stderr)\.log(\.1)?)$/;

/** Where a volume is: `VOLUME_<NAME>`. */
export const volumeVariable = (name: string): string => `VOLUME_${name.toUpperCase().replaceAll('-', '_')}`;

/** Lower-case labels with dots between them: it becomes the name of a folder. */
export function isInstanceName(name: string): boolean {
  return name.length <= INSTANCE_NAME_CHARACTERS_MAX && /^[a-z0-9]([a-z0-9-]|\.(?=[a-z0-9]))*$/.test(name);
}

/** Throws LaunchRefusedError with the field and the reason. */
export function checkLaunch(launch: Launch): void {
  const refuse = (reason: string): never => {
    throw new LaunchRefusedError(launch.instance, reason);
  };
  if (!isInstanceName(launch.instance)) {
    refuse(
      `instance: the name must be lower-case letters, digits, hyphens and dots, at most ${INSTANCE_NAME_CHARACTERS_MAX}`,
    );
  }
  const { spec } = launch;
  const { workingDirectory } = spec;
  if (spec.command !== undefined) checkProgram(spec.command, refuse);
  if (spec.engine === 'docker') {
    if (!/^[\x21-\x7e]+$/.test(spec.image)) refuse('image: it is no reference of an image');
  }
  if (spec.engine !== 'process') checkWords('args', spec.args ?? [], refuse);
  if (workingDirectory !== undefined && (!workingDirectory.startsWith('/') || workingDirectory.includes('\0'))) {
    refuse('workingDirectory: it must be an absolute path');
  }
  for (const { name } of spec.volumes ?? []) {
    // It becomes the name of a folder.
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) refuse('volumes: a name is no DNS label');
  }
  checkEnvironment({ ...launch.spec.env, ...launch.secretEnv, ...launch.env }, refuse);
  checkHosts(launch.hosts, refuse);
  checkFiles(launch.instance, launch.files);
  checkMounts(launch.instance, launch.mounts ?? []);
}

/** A command beside a workload. Throws LaunchRefusedError. */
export function checkCommand(instance: string, command: string[]): void {
  checkProgram(command, (reason) => {
    throw new LaunchRefusedError(instance, reason);
  });
}

function checkProgram(command: string[], refuse: (reason: string) => never): void {
  if (command.length === 0 || command[0] === '') refuse('command: it is empty');
  if (command[0]?.startsWith('-')) refuse('command: a program’s name may not start with a hyphen');
  checkWords('command', command, refuse);
}

function checkWords(field: string, words: string[], refuse: (reason: string) => never): void {
  if (words.some((word) => word.includes('\0'))) refuse(`${field}: it has a NUL character`);
  if (bytesOf(words) > COMMAND_BYTES_MAX) refuse(`${field}: it is longer than ${COMMAND_BYTES_MAX} bytes`);
}

function checkEnvironment(env: Record<string, string>, refuse: (reason: string) => never): void {
  let total = 0;
  for (const [name, value] of Object.entries(env)) {
    // Shells drop other names, or do so depending on which shell it is.
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) refuse(`env: ${JSON.stringify(name)} is no name of a variable`);
    if (SHELL_VARIABLES.has(name) || name.startsWith('selvedge_'))
      refuse(`env: the name ${name} is kept for the shell`);
    if (value.includes('\0')) refuse(`env: the value of ${name} has a NUL character`);
    const bytes = bytesOf([name, value]);
    if (bytes > ENVIRONMENT_VARIABLE_BYTES_MAX)
      refuse(`env: ${name} is longer than ${ENVIRONMENT_VARIABLE_BYTES_MAX} bytes`);
    total += bytes;
  }
  if (total > ENVIRONMENT_BYTES_MAX) refuse(`env: it is longer than ${ENVIRONMENT_BYTES_MAX} bytes`);
}

function checkHosts(hosts: Launch['hosts'], refuse: (reason: string) => never): void {
  if (hosts.length > HOSTS_LINES_MAX) refuse(`hosts: more than ${HOSTS_LINES_MAX} lines`);
  for (const { address, names } of hosts) {
    if (isIP(address) === 0) refuse(`hosts: ${JSON.stringify(address)} is no IP address`);
    for (const name of names) {
      if (name.length > 253 || !/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(name))
        refuse(`hosts: ${JSON.stringify(name)} is no host name`);
    }
  }
}

/** Files of a launch or an update. Throws LaunchRefusedError. */
export function checkFiles(instance: string, files: Launch['files']): void {
  const refuse = (reason: string): never => {
    throw new LaunchRefusedError(instance, reason);
  };
  if (files.length > LAUNCH_FILES_MAX) refuse(`files: more than ${LAUNCH_FILES_MAX}`);
  let total = 0;
  for (const { path, content } of files) {
    const segments = path.split('/');
    if (
      path.includes('\0') ||
      segments.some((part) => part === '' || part === '.' || part === '..' || part.length > 200)
    ) {
      refuse(`files: the path ${JSON.stringify(path.slice(0, 256))} must stay inside the instance's folder`);
    }
    if (ENGINE_FILES.test(segments[0] as string)) refuse(`files: the name ${segments[0]} is kept for the engine`);
    total += content.byteLength;
  }
  if (total > LAUNCH_FILE_BYTES_MAX) refuse(`files: together more than ${LAUNCH_FILE_BYTES_MAX} bytes`);
}

/** Configs and secrets of a launch or an update. Throws LaunchRefusedError. */
export function checkMounts(instance: string, mounts: readonly FileMount[]): void {
  const names = mounts.map(({ kind, name }) => `${kind}/${name}`);
  // A name becomes a folder; what begins with two dots is how its files are switched.
  const unusable = mounts.find(({ name }) => !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name));
  if (unusable !== undefined || new Set(names).size < names.length)
    throw new LaunchRefusedError(instance, 'mounts: a name is no DNS label, or is there twice');
  const paths = mounts.flatMap(({ files }) => files.map(({ path }) => path));
  if (paths.some((path) => path.split('/').some((part) => part.startsWith('..'))))
    throw new LaunchRefusedError(instance, "mounts: a path has a part that begins with '..'");
  checkFiles(
    instance,
    mounts.flatMap(({ kind, name, files }) =>
      files.map(({ path, content }) => ({ path: `${kind}/${name}/${path}`, content, mode: 0o400 })),
    ),
  );
}

/**
 * All that a workload sees: the allowed part of the daemon's environment, and what it is `given` by its spec and the node. `nodeFolder` is appended to
 * PATH, so that `node` resolves on a box that has none but the daemon's.
 */
export function workloadEnvironment(
  given: Record<string, string>,
  daemon: Record<string, string | undefined>,
  nodeFolder: string,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of INHERITED) {
    const value = daemon[name];
    if (value !== undefined) env[name] = value;
  }
  Object.assign(env, given);
  const path = env['PATH'] === undefined || env['PATH'] === '' ? DEFAULT_PATH : env['PATH'];
  env['PATH'] = path.split(':').includes(nodeFolder) ? path : `${path}:${nodeFolder}`;
  return env;
}

function bytesOf(texts: string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0);
}
