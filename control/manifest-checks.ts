// What concerns more than one field of a manifest: duplicates, references, cycles, sums. Pure; called by manifest.ts after the
// schema has accepted the document. It must never read the fabric (what an application needs from there is checked in apply.ts).

import { checkBalancing } from './balancing.ts';
import { dockerOptionsOf } from './docker-options.ts';
import { gatewaysApplication } from './gateway.ts';
import { applicationInstancesMax, envBytesMax } from './limits.ts';
import { checkDevices } from './manifest-devices.ts';
import type { FieldIssue } from './manifest-issues.ts';
import {
  commandForm,
  imageForm,
  type ParsedApplication,
  type ParsedMicroservice,
  probeForm,
} from './manifest-schema.ts';
import { serviceNameProblem } from './names.ts';
import { type ProbeKind, probeKinds } from './plan.ts';
import { portText } from './ports.ts';
import { didYouMean } from './suggestion.ts';
import { moduleForm, readModule, wasmOptionsOf } from './wasm-options.ts';

type Path = (string | number)[];

function issue(path: Path, reason: string, accepted = '', guess?: string): FieldIssue {
  return { path, reason, accepted, ...(guess !== undefined && { didYouMean: guess }) };
}

function duplicates(values: readonly (string | number)[], pathOf: (index: number) => Path): FieldIssue[] {
  const first = new Map<string | number, number>();
  return values.flatMap((value, index) => {
    const before = first.get(value);
    if (before === undefined) {
      first.set(value, index);
      return [];
    }
    return [issue(pathOf(index), `${JSON.stringify(value)} is there twice (entries ${before + 1} and ${index + 1})`)];
  });
}

function checkPorts(microservice: ParsedMicroservice, at: Path): FieldIssue[] {
  const { ports } = microservice;
  const issues = [
    ...duplicates(
      ports.map(({ name }) => name),
      (index) => [...at, 'ports', index, 'name'],
    ),
    ...duplicates(
      ports.map(({ port, protocol }) => (protocol === 'udp' ? portText({ port, protocol }) : port)),
      (index) => [...at, 'ports', index, 'port'],
    ),
  ];
  for (const kind of probeKinds) issues.push(...checkProbe(microservice, kind, [...at, 'probes', kind]));
  return issues;
}

function checkProbe({ ports, probes }: ParsedMicroservice, kind: ProbeKind, path: Path): FieldIssue[] {
  const issues: FieldIssue[] = [];
  const probe = probes[kind];
  if (probe === undefined) return issues;
  const asked = (['http', 'tcp', 'exec'] as const).filter((how) => probe[how] !== undefined);
  if (asked.length !== 1) {
    const reason = asked.length === 0 ? 'says neither http, tcp nor exec' : `says both ${asked.join(' and ')}`;
    issues.push(issue(path, reason, `exactly one of ${probeForm}`));
  }
  const names = ports.filter(({ protocol }) => protocol === 'tcp').map(({ name }) => name);
  for (const protocol of ['http', 'tcp'] as const) {
    const port = probe[protocol]?.port;
    if (port === undefined || names.includes(port)) continue;
    const accepted = names.length === 0 ? 'a TCP port that is declared under ports' : `one of ${names.join(', ')}`;
    const isUdp = ports.some(({ name }) => name === port);
    const reason = isUdp ? `${JSON.stringify(port)} is a UDP port` : `no port is named ${JSON.stringify(port)}`;
    const guess = isUdp ? undefined : didYouMean(port, names);
    issues.push(issue([...path, protocol, 'port'], reason, isUdp ? `${accepted}; or exec` : accepted, guess));
  }
  return issues;
}

/** Each engine has fields of its own. */
function checkEngine(microservice: ParsedMicroservice, at: Path): FieldIssue[] {
  const { engine, command, image } = microservice;
  const issues: FieldIssue[] = [];
  if (engine === 'docker' && image === undefined) issues.push(issue([...at, 'image'], 'is missing', imageForm));
  for (const [name, { soft, hard }] of Object.entries(microservice.ulimits ?? {})) {
    if (soft > hard)
      issues.push(issue([...at, 'ulimits', name, 'soft'], `is more than hard, which is ${hard}`, `at most ${hard}`));
  }
  if (engine === 'wasm') issues.push(...checkModule(microservice, at));
  if (engine === 'process' && command === undefined) issues.push(issue([...at, 'command'], 'is missing', commandForm));
  for (const [field, engines] of enginesOf(microservice)) {
    if (engines.includes(engine)) continue;
    const others = engines.map((one) => `engine: ${one}`).join(' or ');
    issues.push(issue([...at, field], `is not a field of engine ${engine}`, `${others}, or leave it out`));
  }
  return issues;
}

/** The fields that are said and that not every engine has, with those that have them. */
function enginesOf(microservice: ParsedMicroservice): [field: string, engines: ParsedMicroservice['engine'][]][] {
  const { command, image, args, module, workingDirectory } = microservice;
  const { user, hostNetwork, ...containerOptions } = dockerOptionsOf(microservice);
  const said = (values: object, ...engines: ParsedMicroservice['engine'][]) =>
    Object.entries(values)
      .filter(([, value]) => value !== undefined)
      .map(([field]): [string, typeof engines] => [field, engines]);
  return [
    ...said({ command, workingDirectory, user, hostNetwork }, 'process', 'docker'),
    ...said({ image, ...containerOptions }, 'docker'),
    ...said({ args }, 'docker', 'wasm'),
    ...said({ module, ...wasmOptionsOf(microservice) }, 'wasm'),
  ];
}

/** What only modules have, and what they cannot have: they start no programs and listen on nothing themselves. */
function checkModule(microservice: ParsedMicroservice, at: Path): FieldIssue[] {
  const { module, trigger, requestTimeoutMs, concurrency, ports, probes, resources, configs } = microservice;
  const issues: FieldIssue[] = [];
  const names = configs.map(nameOf);
  const read = module === undefined ? { field: '', reason: 'is missing' } : readModule(module);
  if ('reason' in read) {
    issues.push(issue([...at, 'module', ...(read.field === '' ? [] : [read.field])], read.reason, moduleForm));
  } else if ('config' in read && !names.includes(read.config)) {
    const accepted = names.length === 0 ? `configs: [${read.config}] beside it` : `one of ${names.join(', ')}`;
    const reason = `${JSON.stringify(read.config)} is none of the microservice's configs`;
    issues.push(issue([...at, 'module', 'config'], reason, accepted, didYouMean(read.config, names)));
  }
  if (trigger === undefined) {
    for (const [field, value] of Object.entries({ requestTimeoutMs, concurrency })) {
      if (value !== undefined) issues.push(issue([...at, field], 'is for a trigger', 'trigger: http beside it'));
    }
    if (ports.length > 0)
      issues.push(issue([...at, 'ports'], 'are listened on by nobody', 'trigger: http, or no ports'));
  } else if (ports.length !== 1) {
    issues.push(issue([...at, 'ports'], `are ${ports.length}`, 'exactly one, on which requests come in'));
  } else if (ports[0]?.protocol === 'udp') {
    issues.push(issue([...at, 'ports', 0, 'protocol'], 'is not for trigger: http', 'tcp, or leave it out'));
  }
  for (const kind of probeKinds) {
    if (probes[kind]?.exec === undefined) continue;
    const accepted = trigger === undefined ? 'no probe: it runs until it exits' : 'tcp or http';
    issues.push(issue([...at, 'probes', kind, 'exec'], 'is not for engine wasm: a module has no commands', accepted));
  }
  if (resources?.pids !== undefined)
    issues.push(
      issue([...at, 'resources', 'pids'], 'is not for engine wasm: a module starts no processes', 'leave it out'),
    );
  return issues;
}

/** Where the container's own files are: node-runtime/docker-container.ts lays them there. */
const ownFolder = '/selvedge';

function checkVolumes({ engine, volumes = [] }: ParsedMicroservice, at: Path): FieldIssue[] {
  const paths = volumes.map(({ path }, index) => path ?? index);
  const issues = [
    ...duplicates(
      volumes.map(({ name }) => name),
      (index) => [...at, index, 'name'],
    ),
    ...duplicates(paths, (index) => [...at, index, 'path']),
  ];
  for (const [index, volume] of volumes.entries()) {
    if (engine !== 'process') {
      const { path } = volume;
      const inside =
        engine === 'docker' ? 'an absolute path in the container' : 'an absolute path, as the module calls it';
      if (path === undefined) issues.push(issue([...at, index, 'path'], 'is missing', inside));
      else if (path === ownFolder || path.startsWith(`${ownFolder}/`))
        issues.push(
          issue([...at, index, 'path'], `is where configs and identity are`, `a path outside of ${ownFolder}`),
        );
      continue;
    }
    for (const field of ['path', 'hostPath', 'readOnly'] as const) {
      if (volume[field] === undefined) continue;
      const accepted = 'engine: docker or wasm, or leave it out: a program finds its volume by VOLUME_<NAME>';
      issues.push(issue([...at, index, field], `is not a field of engine ${engine}`, accepted));
    }
  }
  return issues;
}

const callText = ({ project, application, microservice, ...port }: NonNullable<ParsedMicroservice['calls']>[number]) =>
  `${[microservice, application, ...(project === undefined ? [] : [project])].join('.')}:${portText(port)}`;

const nameOf = (mount: ParsedMicroservice['configs'][number]): string =>
  typeof mount === 'string' ? mount : mount.name;

function checkEnvironment({ env }: ParsedMicroservice, at: Path): FieldIssue[] {
  return Object.entries(env).flatMap(([name, value]) => {
    if (typeof value === 'string' || (value.secret === undefined) !== (value.config === undefined)) return [];
    const reason = value.secret === undefined ? 'says neither secret nor config' : 'says both secret and config';
    return [issue([...at, name], reason, '{secret: db, key: password} or {config: app, key: site.json}')];
  });
}

function checkMicroservice(microservice: ParsedMicroservice, at: Path): FieldIssue[] {
  const issues: FieldIssue[] = [];
  const unusable = serviceNameProblem(microservice.name);
  if (unusable !== undefined) {
    issues.push(issue([...at, 'name'], `cannot be a service's name: ${unusable}`, 'a name with a letter in it'));
  }
  issues.push(...checkEngine(microservice, at));
  if (microservice.command?.[0] === '') issues.push(issue([...at, 'command', 0], 'is empty', 'a program'));
  const envBytes = Object.entries(microservice.env).reduce(
    (sum, [key, value]) =>
      sum + Buffer.byteLength(key) + (typeof value === 'string' ? Buffer.byteLength(value) : 0) + 2,
    0,
  );
  if (envBytes > envBytesMax) {
    issues.push(
      issue(
        [...at, 'env'],
        `has ${envBytes} bytes in all`,
        `at most ${envBytesMax} bytes; put large values in a Config`,
      ),
    );
  }
  return [
    ...issues,
    ...checkVolumes(microservice, [...at, 'volumes']),
    ...checkDevices(microservice, [...at, 'placement', 'devices']),
    ...checkPorts(microservice, at),
    ...checkBalancing(microservice.balancing, microservice.replicas, [...at, 'balancing']),
    ...checkEnvironment(microservice, [...at, 'env']),
    ...duplicates(microservice.configs.map(nameOf), (index) => [...at, 'configs', index]),
    ...duplicates(microservice.secrets.map(nameOf), (index) => [...at, 'secrets', index]),
    ...duplicates((microservice.calls ?? []).map(callText), (index) => [...at, 'calls', index]),
    ...duplicates(microservice.dependsOn, (index) => [...at, 'dependsOn', index]),
  ];
}

/** A cycle as names, its first again at the end; undefined when there is none. Iterative: depth is bounded by the names alone. */
export function findCycle(dependencies: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  for (const start of dependencies.keys()) {
    const path: string[] = [];
    const stack: { name: string; next: number }[] = done.has(start) ? [] : [{ name: start, next: 0 }];
    if (stack.length > 0) path.push(start);
    while (stack.length > 0) {
      const top = stack[stack.length - 1] as { name: string; next: number };
      const child = dependencies.get(top.name)?.[top.next];
      top.next += 1;
      if (child === undefined) {
        done.add(top.name);
        stack.pop();
        path.pop();
      } else if (path.includes(child)) {
        return [...path.slice(path.indexOf(child)), child];
      } else if (dependencies.has(child) && !done.has(child)) {
        stack.push({ name: child, next: 0 });
        path.push(child);
      }
    }
  }
  return undefined;
}

function checkDependencies(microservices: readonly ParsedMicroservice[], at: Path): FieldIssue[] {
  const byName = new Map(microservices.map((microservice) => [microservice.name, microservice]));
  const issues: FieldIssue[] = [];
  for (const [index, { name, dependsOn }] of microservices.entries()) {
    for (const [place, dependency] of dependsOn.entries()) {
      const path = [...at, index, 'dependsOn', place];
      const needed = byName.get(dependency);
      if (needed === undefined) {
        const others = [...byName.keys()].filter((other) => other !== name);
        const accepted =
          others.length === 0 ? 'another microservice of this application' : `one of ${others.join(', ')}`;
        const reason = `there is no microservice ${JSON.stringify(dependency)} in this application`;
        issues.push(issue(path, reason, accepted, didYouMean(dependency, others)));
      } else if (needed.replicas === 0) {
        issues.push(
          issue(path, `${dependency} has 0 replicas and would never be ready`, 'a microservice with replicas'),
        );
      }
    }
  }
  const cycle = findCycle(new Map(microservices.map(({ name, dependsOn }) => [name, dependsOn])));
  if (cycle !== undefined) {
    const index = microservices.findIndex(({ name }) => name === cycle[0]);
    issues.push(
      issue([...at, index, 'dependsOn'], `waits for itself: ${cycle.join(' → ')}`, 'dependencies without a cycle'),
    );
  }
  return issues;
}

export function checkApplication(application: ParsedApplication): FieldIssue[] {
  const { microservices } = application.spec;
  const at: Path = ['spec', 'microservices'];
  const instances = microservices.reduce((sum, { replicas }) => sum + replicas, 0);
  const issues =
    instances > applicationInstancesMax
      ? [issue(at, `has ${instances} instances`, `at most ${applicationInstancesMax}`)]
      : [];
  if (application.metadata.name === gatewaysApplication) {
    issues.push(issue(['metadata', 'name'], 'is what Gateways are called by', 'another name'));
  }
  return [
    ...issues,
    ...duplicates(
      microservices.map(({ name }) => name),
      (index) => [...at, index, 'name'],
    ),
    ...microservices.flatMap((microservice, index) => checkMicroservice(microservice, [...at, index])),
    ...checkDependencies(microservices, at),
  ];
}
