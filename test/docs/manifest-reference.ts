// The fields of manifests as tables, made from the schemas that check them: accepted form and default are the schema's, what a field
// means is said here. `node test/docs/manifest-reference.ts` writes docs/manifest.md; manifest.test.ts holds it against the code.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { manifestJsonSchema } from '../../control/manifest.ts';
import { dnsLabelForm } from '../../control/names.ts';
import type { ProbeKind } from '../../control/plan.ts';
import { checkout } from './pages.ts';

export const manifestPage = join(checkout, 'docs', 'manifest.md');

interface Schema {
  description?: string;
  const?: unknown;
  default?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  propertyNames?: Schema;
}

export interface Field {
  /** `spec.microservices[].ports[].name` */
  path: string;
  accepted: string;
  /** Undefined: it may be left out, and then is nothing. */
  default: string | undefined;
  required: boolean;
}

function probeMeanings(kind: ProbeKind, failureThreshold: string): Record<string, string> {
  const often = kind === 'liveness' ? '' : '; more often until it passes for the first time';
  const meanings = {
    'http.path': 'Asked by GET; a status from 200 to 399 is well',
    'http.port': 'Which port is asked',
    'tcp.port': 'Which port must accept a connection',
    'exec.command': 'A program beside it, or in its container; exit status 0 is well',
    periodMs: `How often it is asked${often}`,
    timeoutMs: 'An answer that takes longer is none',
    failureThreshold,
    initialDelayMs: 'The first question comes after this',
  };
  const named = Object.entries(meanings).map(([name, text]) => [`spec.microservices[].probes.${kind}.${name}`, text]);
  return Object.fromEntries(named) as Record<string, string>;
}

/** What each field means. Every field has one line, and no other path does (a test looks). */
export const meanings: Record<'Application' | 'Config' | 'Secret' | 'Policy' | 'Gateway', Record<string, string>> = {
  Application: {
    apiVersion: 'The version of this form',
    kind: 'What the document is',
    'metadata.name': 'Its name, unique in the project. Applying the name again changes the application',
    'metadata.project': 'The project that it belongs to; names of different projects do not meet',
    'spec.microservices[].name': 'Its name, and the host name under which others of the application call it',
    'spec.microservices[].engine':
      'What runs it: a program of the box, a container, or a [WebAssembly module](wasm.md)',
    'spec.microservices[].command':
      "The program and its arguments. For a container: in place of the image's ENTRYPOINT",
    'spec.microservices[].image': 'The image; `docker` needs one, `process` takes none',
    'spec.microservices[].module.url': 'Where the node fetches the module; `wasm` needs a module, others take none',
    'spec.microservices[].module.hostPath':
      'A file of the node in place of an address. [The node must allow it](docker.md#what-a-node-allows)',
    'spec.microservices[].module.config': 'One of its `configs` that has the module',
    'spec.microservices[].module.file': 'Which file of that Config',
    'spec.microservices[].module.sha256': 'What the module must be; with `url` and `hostPath`',
    'spec.microservices[].trigger': 'The module is run [for each request](wasm.md#functions); without it once',
    'spec.microservices[].requestTimeoutMs': 'A request that takes longer in the module is ended; 10 s without it',
    'spec.microservices[].concurrency': 'So many requests are in an instance of the module at a time; 4 without it',
    'spec.microservices[].args': "Arguments: in place of the image's CMD, or the module's",
    'spec.microservices[].user':
      'Who it runs as. A container: in place of the image’s user. A program: [a user of the node](#who-a-program-runs-as), which takes a daemon that is root',
    'spec.microservices[].readOnlyRoot': 'The container cannot write to its own file system',
    'spec.microservices[].capabilities.add':
      'More rights of root. [The node must allow it](docker.md#what-a-node-allows)',
    'spec.microservices[].capabilities.drop': 'Fewer of them; NET_RAW is always dropped unless it is added',
    'spec.microservices[].privileged':
      'All that root may on the node. [The node must allow it](docker.md#what-a-node-allows)',
    'spec.microservices[].hostNetwork':
      "It shares the node's network ([a container](docker.md#the-network-of-the-box), [a program](networks.md)) in place of one of its own. The node must allow it",
    'spec.microservices[].devices':
      'Devices of the node, under the same path. [The node must allow them](docker.md#what-a-node-allows)',
    'spec.microservices[].gpus':
      'Graphics processors, as `docker run --gpus` gives them. [The node must allow devices](docker.md#what-a-node-allows)',
    'spec.microservices[].logging.maxSize': 'How much one file of its log on the node holds; 4Mi without this field',
    'spec.microservices[].logging.maxFiles': 'How many such files; 2 without this field',
    'spec.microservices[].pullPolicy':
      'When the registry is asked for the image: where the node lacks it (without this field), before each start, or never',
    'spec.microservices[].platform': 'The platform of the image, where it has several',
    'spec.microservices[].ulimits': 'Limits of each of its processes, by name',
    'spec.microservices[].ulimits.*.soft': 'Where it begins',
    'spec.microservices[].ulimits.*.hard': 'How far it may raise it',
    'spec.microservices[].labels':
      'Labels of the container, for other programs on the node; placement does not look at them',
    'spec.microservices[].extraHosts': 'More lines of its `/etc/hosts`; they come before the names of services',
    'spec.microservices[].env':
      'Environment variables; a module has no others. [From a Secret or a Config](#changed-content): as it was when the instance started',
    'spec.microservices[].workingDirectory':
      "Where it starts; by default the instance's own folder, or what the image says",
    'spec.microservices[].ports[].name': 'Name of the port: for probes, and for `PORT_<NAME>`',
    'spec.microservices[].ports[].port':
      'The port that others call: `http://<microservice>:<port>`. A process listens on the `HOST` and `PORT` that it is given, a container on this port',
    'spec.microservices[].ports[].protocol':
      '[What it is called by](#udp). The same number may be one port of each; TCP alone has `http://` and probes',
    'spec.microservices[].configs':
      'Configs that it gets as files, in `configs/<name>/` of its folder; a container and a module below `/selvedge`. [Changed content](#changed-content) arrives while it runs',
    'spec.microservices[].secrets':
      'Secrets that it gets as files, in `secrets/<name>/`, that whoever it runs as can read alone; otherwise as `configs`',
    'spec.microservices[].calls[].application':
      'A service of another application that it calls: `http://<microservice>.<application>:<port>`. [A Policy there must allow it](#policy)',
    'spec.microservices[].calls[].microservice': 'The microservice there',
    'spec.microservices[].calls[].port': 'The port of it that is called',
    'spec.microservices[].calls[].protocol': 'As that port says',
    'spec.microservices[].calls[].project': 'The project of that application, where it is another one',
    'spec.microservices[].replicas': 'How many instances; they are spread over nodes',
    'spec.microservices[].balancing':
      '[Which instance a call reaches](#which-instance-answers); `round-robin` without it. It changes nothing that runs',
    'spec.microservices[].placement.node': 'This node alone',
    'spec.microservices[].placement.labels': 'Nodes that have all these labels',
    'spec.microservices[].placement.arch': 'Nodes of this architecture',
    'spec.microservices[].placement.devices[].name':
      'A device that it needs: it is placed where one is, starts when it is there, and stops when it goes ([hardware](hardware.md)). `DEVICE_<NAME>` says where it is',
    'spec.microservices[].placement.devices[].kind': 'What kind of device',
    'spec.microservices[].placement.devices[].vendor': 'Of this vendor, by USB or PCI',
    'spec.microservices[].placement.devices[].product': 'This product of the vendor',
    'spec.microservices[].placement.devices[].serial': 'The one with this serial number',
    'spec.microservices[].placement.devices[].path': 'The one at this path, or to which this link leads',
    'spec.microservices[].placement.devices[].shared':
      'Others that say so too may have it at the same time; without it nobody else has',
    'spec.microservices[].resources.memory':
      'The most memory that an instance may use; past it the kernel ends it, and its reason says so. A module gets no more than this in each run. New instances go where so much is not declared by others yet',
    'spec.microservices[].resources.cpus': 'The most processor time, in cores; past it it waits',
    'spec.microservices[].resources.pids': 'The most processes and threads; past it no more are made',
    'spec.microservices[].volumes[].name':
      'A volume of each instance, which stays when the instance ends, changes or goes. `VOLUME_<NAME>` says where it is',
    'spec.microservices[].volumes[].path':
      'Where a container or a module has it; `docker` and `wasm` need one, `process` takes none',
    'spec.microservices[].volumes[].hostPath':
      'This folder of the node in place of a volume; not for `process`. [The node must allow it](docker.md#what-a-node-allows)',
    'spec.microservices[].volumes[].readOnly': 'The container or module cannot write to it; not for `process`',
    ...probeMeanings('startup', 'So many periods may it take to start up; then it is restarted'),
    ...probeMeanings('readiness', 'So many failures in a row make it unready'),
    'spec.microservices[].probes.readiness.successThreshold': 'So many successes in a row make it ready',
    ...probeMeanings('liveness', 'So many failures in a row, and it is restarted'),
    'spec.microservices[].dependsOn': 'It starts once each of these is ready',
    'spec.microservices[].restart':
      'When it is started again after it ended: always, after a failure, or never. With back-off, and without giving up',
    'spec.microservices[].healthyAfterMs':
      'After running for so long, its next failure waits as briefly as the first one; a minute without it',
    'spec.microservices[].stopTimeoutMs': 'Between SIGTERM and SIGKILL',
  },
  Config: {
    apiVersion: 'The version of this form',
    kind: 'What the document is',
    'metadata.name': 'Its name, unique in the project: what `configs` of a microservice names',
    'metadata.project': 'The project that it belongs to',
    'spec.files': 'Path inside the Config, and the content of each file',
    'spec.files.*.text': 'The content as text',
    'spec.files.*.base64': 'The content as base64, for what is no text',
  },
  Secret: {
    apiVersion: 'The version of this form',
    kind: 'What the document is',
    'metadata.name': 'Its name, unique in the project: what `secrets` and `env` of a microservice name',
    'metadata.project': 'The project that it belongs to',
    'spec.data': 'Key, and its value; at most 64 keys, 256 KiB each and 1 MiB in all',
    'spec.data.*.text': 'The value as text',
    'spec.data.*.base64': 'The value as base64, for what is no text',
  },
  Policy: {
    apiVersion: 'The version of this form',
    kind: 'What the document is',
    'metadata.name': 'Its name, unique in the project',
    'metadata.project': 'The project whose services it opens; nobody else can open them',
    'spec.allow[].from.application': 'Who may call: the microservices of this application',
    'spec.allow[].from.microservice': 'This one of them alone',
    'spec.allow[].from.project': "The caller's project, where it is another one",
    'spec.allow[].to.application':
      "What they may call: the microservices of this application of the Policy's own project",
    'spec.allow[].to.microservice': 'This one of them alone',
    'spec.allow[].to.ports': 'These ports alone',
  },
  Gateway: {
    apiVersion: 'The version of this form',
    kind: 'What the document is',
    'metadata.name': 'Its name, unique in the project; at most 46 characters',
    'metadata.project': 'The project whose services it publishes; it can publish no others',
    'spec.on.nodes': 'On which nodes; this or `labels`',
    'spec.on.labels': 'On every node with these labels',
    'spec.address': 'Which address of the nodes is listened on; all without it',
    'spec.port': 'Which port is listened on; below 1024 the node must be root',
    'spec.protocol':
      'What is published: connections as they are, HTTP/1.1 with WebSocket, or [datagrams](gateways.md#udp)',
    'spec.tls.names':
      'With a [certificate of the fabric](gateways.md#tls-with-a-certificate-of-the-fabric) for these names',
    'spec.tls.secret': 'With a [certificate of your own](gateways.md#tls-with-a-certificate-of-your-own)',
    'spec.to.application': 'The service that all of it goes to; this or `routes`',
    'spec.to.microservice': 'The same: its microservice',
    'spec.to.port': 'The same: its port, as callers know it; for `udp` a port of that protocol',
    'spec.routes[].host': 'Of HTTP: requests for this host; for any without it',
    'spec.routes[].path': 'Requests for this path and what is below it; all without it',
    'spec.routes[].to.application': 'Where they go',
    'spec.routes[].to.microservice': 'The same: its microservice',
    'spec.routes[].to.port': 'The same: its port',
    'spec.grants[].name': 'What the grant is called',
    'spec.grants[].cidrs': 'It lets in who connects from there',
    'spec.grants[].token.sha256': 'And has this bearer token; HTTP with TLS alone',
    'spec.grants[].clientCertificate.authority': 'And has a certificate that is issued below this one; TLS alone',
    'spec.grants[].clientCertificate.sha256': 'Or exactly this certificate',
    'spec.grants[].until': 'Until then',
  },
};

function fieldsOf(schema: Schema, path: string, required: boolean): Field[] {
  const own: Field = {
    path,
    accepted:
      schema.description === dnsLabelForm
        ? 'a [name](#names)'
        : (schema.description ?? (schema.const === undefined ? '' : `'${schema.const}'`)),
    default: schema.default === undefined ? undefined : JSON.stringify(schema.default),
    required,
  };
  const { properties, items, additionalProperties: values } = schema;
  const ofProperties = (of: Schema, below: string): Field[] =>
    Object.entries(of.properties ?? {}).flatMap(([name, property]) =>
      fieldsOf(property, below === '' ? name : `${below}.${name}`, of.required?.includes(name) ?? false),
    );
  // An object whose fields are listed needs no row of its own.
  if (properties !== undefined) return ofProperties(schema, path);
  if (items?.properties !== undefined) return ofProperties(items, `${path}[]`);
  if (typeof values === 'object' && values.properties !== undefined) return [own, ...ofProperties(values, `${path}.*`)];
  return [own];
}

export function fields(kind: keyof typeof meanings): Field[] {
  const { oneOf } = manifestJsonSchema() as { oneOf: Schema[] };
  const schema = oneOf.find(({ properties }) => properties?.['kind']?.const === kind);
  if (schema === undefined) throw new Error(`there is no kind ${kind}`);
  return fieldsOf(schema, '', true);
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

export function fieldTable(kind: keyof typeof meanings): string {
  const rows = fields(kind).map(({ path, accepted, default: preset, required }) => {
    const without = required ? '**required**' : preset === undefined ? '' : `\`${preset}\``;
    const shown = path.replace('spec.microservices[].', '… ');
    // Code in a cell keeps its brackets.
    return `| \`${shown}\` | ${(meanings[kind][path] ?? '').replaceAll('|', '\\|')} | ${cell(accepted)} | ${without} |`;
  });
  return ['| field | what for | accepted | default |', '|---|---|---|---|', ...rows].join('\n');
}

/** The page with its tables made anew. */
export function pageWithFields(page: string): string {
  return (Object.keys(meanings) as (keyof typeof meanings)[]).reduce((text, kind) => {
    const begin = `<!-- ${kind}: written by \`node test/docs/manifest-reference.ts\` -->`;
    const end = `<!-- end of ${kind} -->`;
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`docs/manifest.md has lost the marks of ${kind}`);
    return `${text.slice(0, from + begin.length)}\n\n${fieldTable(kind)}\n\n${text.slice(to)}`;
  }, page);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(manifestPage, pageWithFields(readFileSync(manifestPage, 'utf8')));
}
