// The errors of this folder, one class per cause. Each says whether a retry can help and what the operator should do.

/** A file of the data folder does not hold what it must. The node does not start: it never makes itself a new identity. */
export class DamagedFileError extends Error {
  override readonly name = 'DamagedFileError';
  readonly id = 'damaged-file';
  readonly retryable = false;
  readonly action: string;

  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`the file ${path} of the data folder is damaged: ${reason}`, options);
    this.action = `put ${path} back from a backup of this node; without one, remove the node from the fabric, empty the data folder and join again`;
  }
}

/** The options that this box was given do not hold what they must. The node does not start: it would open what they closed. */
export class KeptOptionsError extends Error {
  override readonly name = 'KeptOptionsError';
  readonly id = 'kept-options-damaged';
  readonly retryable = false;
  readonly action: string;

  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`the file ${path} of the data folder is damaged: ${reason}`, options);
    this.action = `put ${path} back from a backup of this node; or remove it, and start once with every option that this box is to have (\`selvedge up --process-user USER --allow-image PATTERN …\`): without the file it has none`;
  }
}

/** The store of a controller opened, and what the controller knew is not in it: going on would end everything everywhere. */
export class StoreLostError extends Error {
  override readonly name = 'StoreLostError';
  readonly id = 'store-lost';
  readonly retryable = false;
  readonly action =
    'put the folder store of the data folder back from a backup of this controller; meanwhile every node runs on with the plan that it has';

  constructor(node: string, plan: string) {
    super(
      `the folder store of the data folder has lost its documents: ${node} obeyed plan ${plan}, and not even its own record is there`,
    );
  }
}

/** `up --found` in a data folder that belongs to a fabric already. */
export class AlreadyMemberError extends Error {
  override readonly name = 'AlreadyMemberError';
  readonly id = 'already-member';
  readonly retryable = false;
  readonly action = 'start it with `selvedge up` alone, or give another data folder with --data';

  constructor(fabricName: string, node: string) {
    super(`this data folder is node ${node} of fabric ${fabricName} already`);
  }
}

/** A path that no Disk takes: absolute, leaving its folder, or reserved. A mistake in the program, or bad input that came through. */
export class DiskPathError extends Error {
  override readonly name = 'DiskPathError';
  readonly id = 'disk-path-refused';
  readonly retryable = false;
  readonly action = 'use a relative path of plain names with / between them';

  constructor(path: string, reason: string) {
    super(`the path ${JSON.stringify(path)} is refused: ${reason}`);
  }
}

/** What the operator can do about a refusal of the file system, and whether it may pass by itself. */
const DISK_ACTIONS: Record<string, [retryable: boolean, action: string]> = {
  ENOSPC: [true, 'free space on the volume that holds it'],
  EDQUOT: [true, 'raise the quota of the user that runs selvedge, or free space'],
  EROFS: [true, 'mount its volume for writing; a volume that went read-only by itself often has a failing disk'],
  EIO: [true, 'check the disk: the kernel log says which sector or device failed'],
  EMFILE: [true, 'raise the limit on open files of the service (LimitNOFILE)'],
  ENFILE: [true, 'raise the limit on open files of the box (fs.file-max)'],
  EACCES: [false, 'give the folder to the user that runs selvedge (chown -R), mode 0700'],
  EPERM: [false, 'give the folder to the user that runs selvedge (chown -R), mode 0700'],
  EFBIG: [false, 'find out what makes the file grow; no file of the data folder should come near this size'],
  EISDIR: [false, 'a folder is where a file belongs: move it away'],
  ENOTDIR: [false, 'a file is where a folder belongs: move it away'],
};

/** The file system refused an operation on a file of the data folder. */
export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly id = 'disk-failed';
  readonly retryable: boolean;
  readonly action: string;
  readonly path: string;

  constructor(operation: string, path: string, cause: unknown) {
    const { code, message } = cause as NodeJS.ErrnoException;
    super(`cannot ${operation} ${path}: ${message ?? String(cause)}`, { cause });
    const known = DISK_ACTIONS[code ?? ''];
    this.path = path;
    this.retryable = known?.[0] ?? false;
    this.action = known?.[1] ?? 'look at the file and its volume; the message above is the system’s own';
  }
}

/** No port to be had on an address. */
export class FreePortError extends Error {
  override readonly name = 'FreePortError';
  readonly id = 'no-free-port';
  readonly retryable = true;
  readonly action = 'see that the address is one of this box, and what holds its ports (ss -ltn)';

  constructor(host: string, cause: unknown) {
    super(`no free TCP port was found on ${host}`, { cause });
  }
}

/** This box cannot run the engine at all. */
export class EngineUnavailableError extends Error {
  override readonly name = 'EngineUnavailableError';
  readonly id = 'engine-unavailable';
  readonly retryable = true;
  readonly action =
    'the process engine needs Linux with /proc, a POSIX shell as sh, mv, cat, and a data folder it can write';
}

/** The engine was used before `start` or after `stop`. */
export class EngineStoppedError extends Error {
  override readonly name = 'EngineStoppedError';
  readonly id = 'engine-stopped';
  readonly retryable = true;
  readonly action = 'nothing: the node is stopping, and adopts its instances at the next start';

  constructor() {
    super('the engine is not started');
  }
}

/** A launch that cannot work until its specification changes. */
export class LaunchRefusedError extends Error {
  override readonly name = 'LaunchRefusedError';
  readonly id = 'launch-refused';
  readonly retryable = false;
  /** No use in trying again before its specification is another one. */
  readonly needsChange = true;
  readonly action = 'change the microservice in its manifest and apply it again';

  constructor(instance: string, reason: string) {
    super(`instance ${JSON.stringify(instance.slice(0, 256))} is refused: ${reason}`);
  }
}

/** A module could not be fetched, or is not what its manifest says. */
export class ModuleFetchError extends Error {
  override readonly name = 'ModuleFetchError';
  readonly id = 'module-not-fetched';
  readonly retryable = true;
  readonly action =
    'see that the node reaches the address (or has the file), and that sha256 is what `sha256sum` says of the module; it is tried again by itself';

  constructor(what: string, reason: string, options?: ErrorOptions) {
    super(`cannot fetch ${what.slice(0, 300)}: ${reason}`, options);
  }
}

/** Whether the module can be run could not be found out now. */
export class ModuleLookError extends Error {
  override readonly name = 'ModuleLookError';
  readonly id = 'module-not-looked-into';
  readonly retryable = true;
  readonly action = 'see that the node has free memory (`selvedge doctor`); it is tried again by itself';

  constructor(ended: string, options?: ErrorOptions) {
    super(`the process that looks into the module ended with ${ended}`, options);
  }
}

/** The module is there, and is none that can be run. */
export class ModuleRefusedError extends Error {
  override readonly name = 'ModuleRefusedError';
  readonly id = 'module-refused';
  readonly retryable = false;
  /** The same bytes stay what they are. */
  readonly needsChange = true;
  readonly action =
    'build the module as a command for WASI preview 1 (wasm32-wasip1), and apply it with its new sha256';

  constructor(reason: string) {
    super(`the module cannot be run: ${reason}`);
  }
}

/** What the one who runs the box does not let workloads have. */
export class PolicyRefusedError extends Error {
  override readonly name = 'PolicyRefusedError';
  readonly id = 'policy-refused';
  readonly retryable = false;
  readonly needsChange = true;
  readonly action =
    'change the microservice, place it on a node that allows it, or start the node’s daemon with the `--allow` or `--allow-image` that the reason names (an installed one: install it again)';
}

/** The working directory of a launch is not there, or not a folder that can be entered. */
export class WorkingDirectoryError extends Error {
  override readonly name = 'WorkingDirectoryError';
  readonly id = 'working-directory';
  readonly retryable = true;
  readonly action = 'make the folder on that node, readable by the user that runs selvedge, or change workingDirectory';

  constructor(instance: string, folder: string, cause: unknown) {
    const { code } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'may not be entered' : 'is no folder';
    super(`instance ${instance}: the working directory ${folder} ${reason}`, { cause });
  }
}

/** A program cannot run as the user that it is to run as. */
export class ProcessUserError extends Error {
  override readonly name = 'ProcessUserError';
  readonly id = 'process-user';
  readonly retryable: boolean;
  readonly needsChange: boolean;
  readonly action =
    'make the user on that node (useradd --system NAME), run selvedge there as root, or change `user` of the microservice; the reason says which';

  constructor(instance: string, user: string, reason: string, needsChange: boolean) {
    super(`instance ${instance} cannot run as ${user}: ${reason}`);
    this.retryable = !needsChange;
    this.needsChange = needsChange;
  }
}

/** The system refused to start a process, or the process ended before it could say who it is. */
export class LaunchFailedError extends Error {
  override readonly name = 'LaunchFailedError';
  readonly id = 'launch-failed';
  readonly retryable = true;
  readonly action =
    'see memory, disk space and the limit on processes of that node; the instance is tried again by itself';

  constructor(instance: string, reason: string, options?: ErrorOptions) {
    super(`instance ${instance} could not be started: ${reason}`, options);
  }
}

/** A launch or removal of an instance that runs. */
export class InstanceRunningError extends Error {
  override readonly name = 'InstanceRunningError';
  readonly id = 'instance-running';
  readonly retryable = true;
  readonly action = 'terminate it first';

  constructor(instance: string) {
    super(`instance ${instance} is running`);
  }
}

/** What an instance names of a Config or a Secret is not in the plan, or cannot be used as it is. */
export class ContentUnusableError extends Error {
  override readonly name = 'ContentUnusableError';
  readonly id = 'content-unusable';
  readonly retryable = true;
  readonly action = 'set the Config or Secret again; it is tried again by itself';
}

/** An instance that the engine has never heard of, or has forgotten. */
export class InstanceUnknownError extends Error {
  override readonly name = 'InstanceUnknownError';
  readonly id = 'instance-unknown';
  readonly retryable = false;
  readonly action = 'see `selvedge status` for the instances of that node';

  constructor(instance: string) {
    super(`there is no instance ${JSON.stringify(instance.slice(0, 256))} here`);
  }
}

/** It is there, and nothing of it runs that a command could be beside. */
export class InstanceNotRunningError extends Error {
  override readonly name = 'InstanceNotRunningError';
  readonly id = 'instance-not-running';
  readonly retryable = true;
  readonly action = 'see why with `selvedge describe instance`, and try again when it runs';

  constructor(instance: string) {
    super(`${instance.slice(0, 256)} does not run now`);
  }
}

/** A command that was to run beside a workload. */
export class ExecFailedError extends Error {
  override readonly name = 'ExecFailedError';
  readonly id = 'exec-failed';
  readonly retryable = false;
  readonly action = 'check that the command is there: in the container, or on the box for a process';

  constructor(instance: string, command: string, reason: string, options?: ErrorOptions) {
    super(`${command} cannot be run beside ${instance}: ${reason}`, options);
  }
}

/** Processes that an exec session started and that outlive it. */
export class ExecLeftError extends Error {
  override readonly name = 'ExecLeftError';
  readonly id = 'exec-left';
  readonly retryable = false;
  readonly action = 'end it on the box; where Docker runs as another user, let the daemon run as root';

  constructor(instance: string, command: string) {
    super(`${command} goes on beside ${instance}: the daemon may not see or end its processes`);
  }
}

/** A box that cannot give a command a terminal. */
export class NoTerminalError extends Error {
  override readonly name = 'NoTerminalError';
  readonly id = 'no-terminal';
  readonly retryable = false;
  readonly action =
    'install script and stty on the node (Debian: bsdutils, coreutils), or run the command without --tty';

  constructor(reason: string, options?: ErrorOptions) {
    super(`this node cannot give a process a terminal: ${reason}`, options);
  }
}

/** The daemon answers, and its node is not there yet: it starts, or belongs to no fabric. */
export class NodeStartingError extends Error {
  override readonly name = 'NodeStartingError';
  readonly id = 'node-starting';
  readonly retryable = true;
  readonly action = 'Try again in a moment; `selvedge status` says when it is there, and what it waits for.';
  constructor() {
    super('this node is starting, or belongs to no fabric yet');
  }
}

/** A node runs as many commands beside its workloads as it may. */
export class ExecBusyError extends Error {
  override readonly name = 'ExecBusyError';
  readonly id = 'exec-busy';
  readonly retryable = true;
  readonly action = 'end another `selvedge exec` and try again';

  constructor(max: number) {
    super(`${max} commands are being run on that node already`);
  }
}

/** A session of `selvedge exec` in which nothing was typed or printed. */
export class ExecIdleError extends Error {
  override readonly name = 'ExecIdleError';
  readonly id = 'exec-idle';
  readonly retryable = true;
  readonly action = 'run the command again; let one that is silent for long run as a workload';

  constructor(idleMs: number) {
    super(`the command was ended: nothing was typed or printed for ${idleMs / 60_000} minutes`);
  }
}

/** Processes that survive SIGKILL: they hang in the kernel, mostly on a dead disk or network file system. */
export class InstanceUnkillableError extends Error {
  override readonly name = 'InstanceUnkillableError';
  readonly id = 'instance-unkillable';
  readonly retryable = true;
  readonly action =
    'look for hanging mounts or devices of that node (state D in ps); only a reboot ends such processes';

  constructor(instance: string, pids: number[]) {
    super(`instance ${instance}: process ${pids.join(', ')} did not end after SIGKILL`);
  }
}

/** The fabric refused this box: asking again with the same token cannot help. */
export class EnrollmentEndedError extends Error {
  override readonly name = 'EnrollmentEndedError';
  readonly id = 'enrollment-ended';
  readonly retryable = false;
  readonly action =
    'create a new token on a controller (`selvedge token create`) and start again with it; `selvedge events` there says why this one was refused';

  constructor(reason: string) {
    super(`the fabric did not admit this box: ${reason}`);
  }
}

/** The controller at a given address is one that was found on the LAN as well. */
export class AlreadyAskedError extends Error {
  override readonly name = 'AlreadyAskedError';
  readonly id = 'already-asked';
  readonly retryable = true;
  readonly action = 'nothing: one request to a controller is enough';

  constructor(peerId: string) {
    super(`${peerId} holds a request of this box already`);
  }
}

/** No Docker Engine answers on its socket. */
export class DockerUnavailableError extends Error {
  override readonly name = 'DockerUnavailableError';
  readonly id = 'docker-unavailable';
  readonly retryable = true;
  /** No failure of a workload: actors/instance.ts waits and does not count it. */
  readonly engineAway = true;
  readonly action =
    'see that Docker runs (systemctl status docker) and that the user of selvedge may use its socket; what waits for it goes on by itself';
}

/** A registry gives an image to nobody who does not log in, or not to this node. */
export class RegistryRefusedError extends Error {
  override readonly name = 'RegistryRefusedError';
  readonly id = 'registry-refused';
  readonly retryable = true;
  readonly action =
    'give the node credentials that may pull the image: `selvedge up --registry-auth FILE`, in the form of Docker’s config.json';

  constructor(registry: string, sent: boolean, reason: string, options?: ErrorOptions) {
    const what = sent
      ? 'those that this node has for it were refused; correct them in the file of `--registry-auth`'
      : 'this node has none for it; `selvedge up --registry-auth FILE` on it gives some';
    super(`the registry ${registry} wants credentials, and ${what} (${reason.slice(0, 200)})`, options);
  }
}

/** The file with a node's credentials for registries cannot be used. */
export class RegistryAuthError extends Error {
  override readonly name = 'RegistryAuthError';
  readonly id = 'registry-auth';
  readonly retryable = true;
  readonly action =
    'correct the file of `--registry-auth`: Docker’s config.json with `auths`, mode 600, owned by whom the daemon runs as';

  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`the credentials in ${path} cannot be used: ${reason}`, options);
  }
}

/** Docker answered with a refusal. */
export class DockerRefusedError extends Error {
  override readonly name = 'DockerRefusedError';
  readonly id = 'docker-refused';
  readonly retryable = true;
  readonly action =
    'the message is Docker’s own: look at the image, its name, and the space of that node; it is tried again by itself';

  constructor(what: string, reason: string, options?: ErrorOptions) {
    super(
      `Docker refused to ${what}: ${reason
        .replace(/^\(HTTP code \d+\) /, '')
        .trim()
        .slice(0, 500)}`,
      options,
    );
  }
}

/** A container or network with the name that an instance needs belongs to somebody else. */
export class ContainerNameTakenError extends Error {
  override readonly name = 'ContainerNameTakenError';
  readonly id = 'container-name-taken';
  readonly retryable = true;
  readonly action = 'rename or remove it; Selvedge touches nothing that does not carry its labels';

  constructor(kind: 'container' | 'network', name: string) {
    super(`there is a ${kind} ${name} already that is not this node’s`);
  }
}

/** Every part of the container range overlaps with a network of this box. */
export class NoFreeRangeError extends Error {
  override readonly name = 'NoFreeRangeError';
  readonly id = 'no-free-range';
  readonly retryable = true;
  readonly action = 'give a range that no network of this box uses with `selvedge up --container-range`';

  constructor(range: string) {
    super(`no part of ${range} is free for containers on this box`);
  }
}

/** As many applications as a node has networks for have containers here. */
export class TooManyNetworksError extends Error {
  override readonly name = 'TooManyNetworksError';
  readonly id = 'too-many-networks';
  readonly retryable = true;
  readonly action = 'place some of the applications that have containers on this node on others';

  constructor(most: number) {
    super(`containers of ${most} applications are on this node, which has no more networks`);
  }
}

/** The resolver of the containers cannot listen at their gateway: another one of this box does so on all addresses, mostly. */
export class NameServerError extends Error {
  override readonly name = 'NameServerError';
  readonly id = 'name-server';
  readonly retryable = true;
  readonly action =
    'let the box’s other DNS server listen on the addresses alone that it serves (dnsmasq: `bind-interfaces` and `interface=`; a container: publish port 53 with an address); the node needs root or CAP_NET_BIND_SERVICE';

  constructor(address: string, reason: string, options?: ErrorOptions) {
    super(`names of services cannot be answered for containers at ${address}: ${reason}`, options);
  }
}

/** The box's packet filter does not take the rules that keep programs with a network of their own apart. */
export class PacketFilterError extends Error {
  override readonly name = 'PacketFilterError';
  readonly id = 'packet-filter';
  readonly retryable = true;
  readonly action = 'run what it names as root to see why; `selvedge doctor` tries the same rules out';

  constructor(program: string, reason: string, options?: ErrorOptions) {
    super(`${program} does not take the rules for networks of programs: ${reason}`, options);
  }
}

/** What leads to the networks of programs cannot be made on this box. */
export class ProcessNetworkError extends Error {
  override readonly name = 'ProcessNetworkError';
  readonly id = 'process-network';
  readonly retryable = true;
  readonly action =
    'see the reason; a program with `hostNetwork: true` on a node that allows it shares the network of its box';

  constructor(reason: string, options?: ErrorOptions) {
    super(`programs cannot have networks of their own: ${reason}`, options);
  }
}

/** A plan names an engine that this program does not have: it was written by a newer controller. */
export class EngineMissingError extends Error {
  override readonly name = 'EngineMissingError';
  readonly id = 'engine-missing';
  readonly retryable = false;
  readonly action = 'upgrade selvedge on that node, or change the microservice’s engine';

  constructor(engine: string) {
    super(`this node has no engine ${JSON.stringify(engine.slice(0, 64))}`);
  }
}

/** An instance may run on an engine that is away, from before this daemon: it is not given up as long as that cannot be asked. */
export class InstanceAwayError extends Error {
  override readonly name = 'InstanceAwayError';
  readonly id = 'instance-away';
  readonly retryable = true;
  readonly action = 'start that engine again: what it still runs is then ended by itself';
}

/** What a Gateway says cannot be published on this node as it is. */
export class GatewayUnusableError extends Error {
  override readonly name = 'GatewayUnusableError';
  readonly id = 'gateway-unusable';
  readonly retryable = true;
  readonly action = 'Change what the reason names: the Gateway, its Secret, or the other Gateway.';
}
