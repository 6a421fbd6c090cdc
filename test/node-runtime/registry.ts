// A registry of images of the test's own, on a port of 127.0.0.1, which Docker speaks to without TLS: one image of one shell and a
// large random layer that the test lets through when it wants. What is asked of it is noted.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

const manifestType = 'application/vnd.docker.distribution.manifest.v2+json';
const layerType = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

/** A held layer goes on by this, so often: 8 MB would take an hour. */
const dropBytes = 256;
const dropMs = 100;

export interface Registry {
  /** `127.0.0.1:<port>/<name>:1` */
  image(name: string): string;
  /** Requests so far, as `GET /v2/…`. */
  readonly asked: readonly string[];
  /** What Authorization headers said, each once. */
  readonly logins: ReadonlySet<string>;
  /** Downloads of the large layer that were given up before their end. */
  readonly givenUp: number;
  /** Lets the rest of the large layer through, now and from now on. */
  release(): void;
  close(): Promise<void>;
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * `files` is a tar archive with the root of the image; the large layer is held back after half of it. `login`: USER:PASSWORD, without which
 * nothing is answered.
 */
export async function startRegistry(files: Uint8Array, largeBytes: number, login?: string): Promise<Registry> {
  const large = oneFile('large', randomBytes(largeBytes));
  const layers = [files, large].map((tar) => ({ tar, bytes: gzipSync(tar, { level: 1 }) }));
  const config = Buffer.from(
    JSON.stringify({
      ...{ architecture: process.arch === 'x64' ? 'amd64' : process.arch, os: 'linux' },
      config: { Cmd: ['sleep', '1000'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ tar }) => digestOf(tar)) },
    }),
  );
  const blobs = new Map([config, ...layers.map(({ bytes }) => bytes)].map((bytes) => [digestOf(bytes), bytes]));
  const describe = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    size: bytes.length,
    digest: digestOf(bytes),
  });
  const manifest = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: manifestType },
      config: describe('application/vnd.docker.container.image.v1+json', config),
      layers: layers.map(({ bytes }) => describe(layerType, bytes)),
    }),
  );
  const held = layers[1]?.bytes;
  const release = new AbortController();
  const { signal: released } = release;
  const asked: string[] = [];
  const logins = new Set<string>();
  let givenUp = 0;

  async function send(answer: ServerResponse, bytes: Uint8Array): Promise<void> {
    answer.writeHead(200, { 'content-length': bytes.length, 'content-type': 'application/octet-stream' });
    if (bytes !== held) return void answer.end(bytes);
    answer.on('close', () => {
      if (!answer.writableFinished) givenUp++;
    });
    // Drop by drop, not silent: Docker notices that it was told to stop when more arrives.
    let sent = Math.floor(bytes.length / 2);
    answer.write(bytes.subarray(0, sent));
    while (!released.aborted && !answer.closed) {
      answer.write(bytes.subarray(sent, sent + dropBytes));
      sent += dropBytes;
      await sleep(dropMs, undefined, { signal: released }).catch(() => undefined);
    }
    answer.end(bytes.subarray(sent));
  }

  const server = createServer((request, answer) => {
    const { method, url = '' } = request;
    asked.push(`${method} ${url}`);
    const { authorization } = request.headers;
    if (authorization !== undefined) logins.add(authorization);
    if (login !== undefined && authorization !== `Basic ${Buffer.from(login).toString('base64')}`) {
      const errors = [{ code: 'UNAUTHORIZED', message: 'authentication required' }];
      answer.writeHead(401, { 'www-authenticate': 'Basic realm="test"', 'content-type': 'application/json' });
      answer.end(JSON.stringify({ errors }));
      return;
    }
    const [, kind, what = ''] = /^\/v2\/[^/]+\/(manifests|blobs)\/(.+)$/.exec(url) ?? [];
    const blob = kind === 'blobs' ? blobs.get(what) : undefined;
    if (url === '/v2/') answer.writeHead(200).end('{}');
    else if (blob !== undefined) void send(answer, blob);
    else if (kind === 'manifests' && (what === '1' || what === digestOf(manifest))) {
      const headers = { 'content-type': manifestType, 'docker-content-digest': digestOf(manifest) };
      answer.writeHead(200, { ...headers, 'content-length': manifest.length });
      answer.end(method === 'HEAD' ? undefined : manifest);
    } else {
      const errors = [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' }];
      answer.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify({ errors }));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    image: (name) => `127.0.0.1:${port}/${name}:1`,
    asked,
    logins,
    get givenUp() {
      return givenUp;
    },
    release: () => release.abort(),
    async close() {
      release.abort();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** A tar archive (ustar) of one file. */
function oneFile(name: string, content: Uint8Array): Uint8Array {
  const head = Buffer.alloc(512);
  head.write(name);
  head.write('0000644\0', 100);
  head.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  head.write('00000000000\0', 136);
  head.write('        0', 148);
  head.write('ustar\x0000', 257);
  const checksum = head.reduce((sum, byte) => sum + byte, 0);
  head.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  return Buffer.concat([head, content, padding, Buffer.alloc(1024)]);
}
