// What can run workloads here: processes, modules, and containers where a Docker Engine answers.

import { request } from 'node:http';
import { closeCgroups, controllers, detectCgroups } from '../cgroups.ts';
import { doctorProbeMs } from '../limits.ts';
import { createProcessTable } from '../process-table.ts';
import { findCommand } from '../process-tools.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const needed = ['sh', 'mv', 'cat'];

export async function checkProcessEngine(): Promise<Finding> {
  const id = 'engine-process';
  try {
    await createProcessTable();
  } catch {
    return fail(id, 'there is no Linux /proc here', 'Run selvedge on Linux, with /proc mounted.');
  }
  const found = await Promise.all(needed.map(findCommand));
  const missing = needed.filter((_, index) => found[index] === undefined);
  if (missing.length > 0)
    return fail(id, `commands are missing: ${missing.join(', ')}`, 'Install a POSIX shell and coreutils.');
  return ok(id, 'programs can be run');
}

/** Of process workloads; Docker holds those of containers itself. */
export async function checkLimits(): Promise<Finding> {
  const id = 'limits';
  const cgroups = await detectCgroups(`doctor ${process.pid}`);
  await closeCgroups(cgroups);
  const missing = controllers.filter((one) => !cgroups.parents.has(one));
  if (missing.length === 0) {
    const versions = [...new Set([...cgroups.parents.values()].map(({ version }) => version))];
    return ok(id, `resources of programs are held by control groups (version ${versions.join(' and ')})`);
  }
  return warn(
    id,
    `resources of programs are not held, but for memory of each process: ${missing.join(', ')}: ${cgroups.reason}`,
    'Run selvedge as root, or use engine: docker for what has resources.',
  );
}

const defaultSocket = '/var/run/docker.sock';

/** `DOCKER_HOST`'s socket, or the usual one; undefined for an engine over TCP. */
function dockerSocket(host = process.env['DOCKER_HOST'] ?? ''): string | undefined {
  if (host === '') return defaultSocket;
  return host.startsWith('unix://') ? host.slice('unix://'.length) : undefined;
}

/** Undefined when it answers; else the error's code or the answer's status. */
function pingFault(socketPath: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const asked = request({ socketPath, path: '/_ping', timeout: doctorProbeMs }, (response) => {
    response.resume();
    resolve(response.statusCode === 200 ? undefined : `it answers ${response.statusCode}`);
  });
  asked.on('timeout', () => asked.destroy(new Error('it does not answer')));
  asked.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  asked.end();
  return promise;
}

export async function checkDockerEngine(): Promise<Finding> {
  const id = 'engine-docker';
  const socket = dockerSocket();
  if (socket === undefined) return ok(id, `DOCKER_HOST is ${process.env['DOCKER_HOST']}: not looked at`);
  const fault = await pingFault(socket);
  if (fault === undefined) return ok(id, `a Docker Engine answers on ${socket}`);
  if (fault === 'ENOENT' && process.env['DOCKER_HOST'] === undefined) {
    return ok(id, 'there is no Docker Engine: containers are placed on other nodes');
  }
  const action =
    fault === 'EACCES'
      ? 'Add the user that runs selvedge to the group docker, and start selvedge again.'
      : 'Start it (systemctl start docker), or remove its socket when it is not wanted.';
  return warn(id, `the Docker Engine on ${socket} cannot be used: ${fault}`, action);
}

/** A module that does nothing: magic, version, no sections. */
const emptyModule = Buffer.from('0061736d01000000', 'hex');

/** WebAssembly may be off in a hardened Node (--jitless); node:wasi is part of every one. */
export async function checkWasmEngine(): Promise<Finding> {
  const id = 'engine-wasm';
  const action = 'Use a Node.js of nodejs.org or of the distribution, and take --jitless out of NODE_OPTIONS.';
  if (typeof WebAssembly === 'undefined')
    return warn(id, 'modules cannot be run: this Node.js has no WebAssembly', action);
  const fault = await WebAssembly.compile(emptyModule).then(
    () => undefined,
    (error: Error) => error.message,
  );
  return fault === undefined
    ? ok(id, 'modules can be run (WASI preview 1)')
    : warn(id, `modules cannot be run: ${fault}`, action);
}
