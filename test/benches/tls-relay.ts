// One half of what the tunnel is compared with: a process that relays each connection over mutual TLS, one TLS connection each.
// `dial` takes plain connections and dials the other half; `listen` takes TLS and dials the target. Started by relay-pair.ts
// with its settings on stdin; says its port as the first line.

import { type AddressInfo, connect as connectPlain, createServer as createPlain, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTls } from 'node:tls';

export interface RelaySettings {
  mode: 'dial' | 'listen';
  target: { host: string; port: number };
  keyPem: string;
  chainPem: string;
  rootPem: string;
}

function couple(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
    from.pipe(to);
  }
}

async function settings(): Promise<RelaySettings> {
  // One line; the pipe stays open, so that this process ends with whoever holds the other end.
  let text = '';
  for await (const chunk of process.stdin.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  return JSON.parse(text) as RelaySettings;
}

const { mode, target, keyPem, chainPem, rootPem } = await settings();
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
const tls = { key: keyPem, cert: chainPem, ca: rootPem, minVersion: 'TLSv1.3' } as const;
const half = { allowHalfOpen: true, noDelay: true } as const;
const server =
  mode === 'dial'
    ? createPlain(half, (socket) => {
        // Who is at the other end is proved by the chain; the name in its certificate is the tunnel's business.
        const far = connectTls({ ...tls, ...target, ALPNProtocols: ['relay'], checkServerIdentity: () => undefined });
        far.setNoDelay(true);
        couple(socket, far);
      })
    : createTls({ ...tls, ...half, ALPNProtocols: ['relay'], requestCert: true, rejectUnauthorized: true }, (socket) =>
        couple(socket, connectPlain({ ...target, ...half })),
      );
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
