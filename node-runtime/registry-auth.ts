// How this node logs in to registries: a file in the form of Docker's config.json, read anew for each pull. Called by docker-engine.ts.
// Only the entry that is nearest to the image's own name leaves this file, and nothing of an entry is ever told to anybody but Docker.

import { type FileHandle, open } from 'node:fs/promises';
import { RegistryAuthError } from './errors.ts';
import { registryAuthBytesMax } from './limits.ts';

/** What Docker's API takes as X-Registry-Auth. */
export interface RegistryCredentials {
  username?: string;
  password?: string;
  identitytoken?: string;
  registrytoken?: string;
  serveraddress: string;
}

const hub = 'docker.io';

/** The registry of an image's reference, as Docker reads it: a first part with a dot or a port, or `localhost`. */
export function registryOf(reference: string): string {
  const [first = '', ...rest] = reference.split('/');
  const named = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  return !named || first === 'index.docker.io' || first === 'registry-1.docker.io' ? hub : first.toLowerCase();
}

/** The repository of an image's reference in that registry, without tag and digest. */
function repositoryOf(reference: string, registry: string): string {
  const [first = '', ...rest] = reference.split('@')[0]?.split('/') ?? [];
  const parts = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost') ? rest : [first, ...rest];
  const path = parts.join('/').replace(/:[^/:]*$/, '');
  return registry === hub && !path.includes('/') ? `library/${path}` : path;
}

interface Scope {
  registry: string;
  /** Below which repositories; empty: all of the registry. */
  path: string;
}

/**
 * What an entry's name is for, as containers-auth.json(5) has it: `podman login registry/name` is for what is below that name alone. `docker
 * login` writes URLs for some, whose path is that of an API. A name without a dot or a port is that of no image's registry, and its login nobody's.
 */
function scopeOf(name: string): Scope | undefined {
  const [host = '', ...parts] = name.replace(/^https?:\/\//, '').split('/');
  if (!/[.:]/.test(host) && host !== 'localhost') return undefined;
  const registry = registryOf(`${host}/`);
  const path = parts.join('/').replace(/\/+$/, '');
  const isApi = /^https?:\/\//.test(name) || (registry === hub && /^v[12]$/.test(path));
  return { registry, path: isApi ? '' : path };
}

const covers = ({ path }: Scope, repository: string): boolean =>
  path === '' || repository === path || repository.startsWith(`${path}/`);

type Text = Record<string, unknown>;
const isText = (value: unknown): value is Text => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Undefined when the file has nothing for that image. Rejects with RegistryAuthError. */
export async function readRegistryAuth(path: string, image: string): Promise<RegistryCredentials | undefined> {
  const registry = registryOf(image);
  const refuse = (reason: string, cause?: unknown): never => {
    throw new RegistryAuthError(path, reason, cause === undefined ? undefined : { cause });
  };
  const file = await readOwn(path, refuse);
  const auths = isText(file['auths']) ? file['auths'] : {};
  const repository = repositoryOf(image, registry);
  const scopes = Object.keys(auths).map((one) => ({ one, ...(scopeOf(one) ?? { registry: '', path: '' }) }));
  // The nearest one counts alone: who logs in for one name gives no other's login out for it.
  const [{ one: name } = { one: undefined }] = scopes
    .filter((scope) => scope.registry === registry && covers(scope, repository))
    .sort((one, other) => other.path.length - one.path.length);
  const entry = name === undefined ? undefined : auths[name];
  const found = isText(entry) ? credentialsOf(entry, registry, refuse) : undefined;
  if (found !== undefined) return found;
  const helpers = isText(file['credHelpers'])
    ? Object.keys(file['credHelpers']).map((one) => scopeOf(one)?.registry)
    : [];
  if (helpers.includes(registry) || (file['credsStore'] !== undefined && name !== undefined)) {
    refuse(`it leaves the credentials of ${registry} to a helper program, which a node does not run`);
  }
  return undefined;
}

async function readOwn(path: string, refuse: (reason: string, cause?: unknown) => never): Promise<Text> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r').catch((error: NodeJS.ErrnoException) =>
      refuse(error.code === 'ENOENT' ? 'there is no such file' : `${error.code}`, error),
    );
    const { mode, size, uid } = await handle.stat();
    if ((mode & 0o077) !== 0) refuse(`others may use it (mode ${(mode & 0o777).toString(8)})`);
    if (uid !== process.geteuid?.() && uid !== 0) refuse('it belongs to another user');
    if (size > registryAuthBytesMax) refuse(`it is larger than ${registryAuthBytesMax} bytes`);
    let value: unknown;
    try {
      value = JSON.parse(await handle.readFile('utf8'));
    } catch {
      // What JSON.parse says quotes the text.
      refuse('it is no JSON');
    }
    return isText(value) ? value : refuse('it is no JSON object');
  } finally {
    await handle?.close();
  }
}

function credentialsOf(
  { auth, username, password, identitytoken, registrytoken }: Text,
  registry: string,
  refuse: (reason: string) => never,
): RegistryCredentials | undefined {
  const serveraddress = registry === hub ? 'https://index.docker.io/v1/' : registry;
  if (typeof identitytoken === 'string' && identitytoken !== '') return { identitytoken, serveraddress };
  if (typeof registrytoken === 'string' && registrytoken !== '') return { registrytoken, serveraddress };
  if (typeof username === 'string' && typeof password === 'string') return { username, password, serveraddress };
  if (typeof auth !== 'string' || auth === '') return undefined;
  const [, name = '', secret = ''] =
    /^([^:]+):([\s\S]*)$/.exec(Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '')) ?? [];
  if (name === '') refuse(`its "auth" for ${registry} is no base64 of USER:PASSWORD`);
  return { username: name, password: secret, serveraddress };
}
