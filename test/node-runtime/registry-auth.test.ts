// A node's credentials for registries: whose entry is taken, and which files are refused. With real files.

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { RegistryAuthError } from '../../node-runtime/errors.ts';
import { readRegistryAuth, registryOf } from '../../node-runtime/registry-auth.ts';

async function file(t: ExecutionContext, content: unknown, mode = 0o600): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-auth-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'config.json');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content), { mode });
  await chmod(path, mode);
  return path;
}

const auth = (text: string): string => Buffer.from(text).toString('base64');

test('the registry of an image is what Docker takes for it', (t) => {
  const images = {
    busybox: 'docker.io',
    'library/busybox:1': 'docker.io',
    'docker.io/library/busybox': 'docker.io',
    'index.docker.io/shop/web': 'docker.io',
    'registry.example/shop/web:1.2': 'registry.example',
    'Registry.Example/shop/web': 'registry.example',
    'localhost/web': 'localhost',
    '127.0.0.1:5000/web@sha256:00': '127.0.0.1:5000',
    'shop/web': 'docker.io',
  };
  for (const [image, registry] of Object.entries(images)) t.is(registryOf(image), registry, image);
});

test('the login of a short name is not sent to Docker Hub', async (t) => {
  const path = await file(t, {
    auths: { harbor: { auth: auth('inside:i') }, 'https://harbor/v2/': { auth: auth('inside:i') } },
  });
  for (const image of ['alpine', 'stranger/image', 'docker.io/stranger/image', 'harbor/image'])
    t.is(await readRegistryAuth(path, image), undefined, image);
});

test('only the entry of the image’s own registry is taken', async (t) => {
  const path = await file(t, {
    auths: {
      'https://index.docker.io/v1/': { auth: auth('hub:h:1') },
      'registry.example': { auth: auth('shop:s'), email: 'nobody' },
      'https://other.example:5000/v2/': { username: 'other', password: 'o' },
      'token.example': { identitytoken: 'long' },
      'empty.example': {},
    },
    credHelpers: { 'cloud.example': 'cloud' },
  });
  const read = (image: string) => readRegistryAuth(path, image);
  const hub = { username: 'hub', password: 'h:1', serveraddress: 'https://index.docker.io/v1/' };
  t.deepEqual(await read('busybox'), hub);
  t.deepEqual(await read('registry.example/web'), {
    ...{ username: 'shop', password: 's', serveraddress: 'registry.example' },
  });
  t.is((await read('other.example:5000/web'))?.username, 'other');
  t.deepEqual(await read('token.example/web'), { identitytoken: 'long', serveraddress: 'token.example' });
  for (const none of [
    'unknown.example/web',
    'empty.example/web',
    'registry.example:5000/web',
    'example/web/registry.example',
  ])
    t.is((await read(none))?.username, none.startsWith('example/') ? 'hub' : undefined, none);
  await t.throwsAsync(read('cloud.example/web'), { instanceOf: RegistryAuthError, message: /helper program/ });
});

test('a login for a name in a registry is for the images below it alone', async (t) => {
  const path = await file(t, {
    auths: {
      'registry.example/shop': { auth: auth('shop:s') },
      'registry.example/shop/tills/': { auth: auth('tills:t') },
      'other.example:5000': { auth: auth('all:a') },
      'other.example:5000/shop': { auth: auth('few:f') },
      'docker.io/library': { auth: auth('library:l') },
      'docker.io/Shop': { auth: auth('capital:c') },
      'hub.example': {},
      'hub.example/shop': { auth: auth('below:b') },
    },
  });
  const users: Record<string, string | undefined> = {
    'registry.example/shop/web:1.2': 'shop',
    'Registry.Example/shop': 'shop',
    [`registry.example/shop/web@sha256:${'0'.repeat(64)}`]: 'shop',
    'registry.example/shop/tills/north:1': 'tills',
    'registry.example/shop/tills-old:1': 'shop',
    'registry.example/shopping/web': undefined,
    'registry.example/stranger/shop': undefined,
    'registry.example/web': undefined,
    'registry.example:5000/shop/web': undefined,
    'other.example:5000/web': 'all',
    'other.example:5000/shopping/web': 'all',
    'other.example:5000/shop/web': 'few',
    busybox: 'library',
    'busybox:1': 'library',
    'docker.io/library/busybox': 'library',
    'shop/web': undefined,
    'hub.example/web': undefined,
    'hub.example/shop/web': 'below',
  };
  for (const [image, user] of Object.entries(users)) t.is((await readRegistryAuth(path, image))?.username, user, image);
});

test('the path of a URL is that of an API, and no name of images', async (t) => {
  const path = await file(t, {
    auths: {
      'https://registry.example/v2/': { auth: auth('url:u') },
      'index.docker.io/v1/': { auth: auth('hub:h') },
    },
  });
  t.is((await readRegistryAuth(path, 'registry.example/shop/web'))?.username, 'url');
  t.is((await readRegistryAuth(path, 'busybox'))?.username, 'hub');
});

test('a file that others may use, or that is none, is refused without its words', async (t) => {
  const good = { auths: { 'registry.example': { auth: auth('shop:very-secret') } } };
  const refusals: [unknown, number, RegExp][] = [
    [good, 0o640, /others may use it \(mode 640\)/],
    [good, 0o604, /others may use it/],
    ['{"auths": very-secret', 0o600, /it is no JSON$/],
    ['["very-secret"]', 0o600, /no JSON object/],
    [{ auths: { 'registry.example': { auth: 'dmVyeS1zZWNyZXQ=' } } }, 0o600, /no base64 of USER:PASSWORD/],
    [' '.repeat(300 * 1024), 0o600, /larger than/],
    [{ auths: { 'registry.example': {} }, credsStore: 'desktop' }, 0o600, /helper program/],
  ];
  for (const [content, mode, message] of refusals) {
    const path = await file(t, content, mode);
    const error = await t.throwsAsync(readRegistryAuth(path, 'registry.example/web'), {
      instanceOf: RegistryAuthError,
      message,
    });
    t.notRegex(`${error.message}${error.stack}`, /very-secret|dmVyeS1/);
  }
  await t.throwsAsync(readRegistryAuth('/no/such/file', 'web'), { message: /there is no such file/ });
});
