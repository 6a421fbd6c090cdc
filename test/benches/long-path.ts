// A long path in user space, for kernels without netem: a process that passes each byte of a connection on after the time that it
// would be on its way, at the rate of a line, and holds no more than a path with its buffers does. Started by tunnel-paths.ts with its
// settings on stdin; says a port for each target as the first line. Ends with its stdin.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface LongPathSettings {
  /** One way. */
  delayMs: number;
  bytesPerSecond: number;
  targets: { host: string; port: number }[];
}

/** What is on its way and what waits for the line, beside the product of delay and rate. */
const buffersPart = 2;

function pass(from: Socket, to: Socket, { delayMs, bytesPerSecond }: LongPathSettings): void {
  const heldMax = (delayMs / 1_000) * bytesPerSecond * (1 + buffersPart);
  const held: { chunk: Buffer | undefined; dueMs: number }[] = [];
  let heldBytes = 0;
  let lineFreeMs = 0;
  let waiting = false;

  function take(chunk: Buffer | undefined): void {
    const length = chunk?.length ?? 0;
    lineFreeMs = Math.max(lineFreeMs, performance.now()) + (length / bytesPerSecond) * 1_000;
    held.push({ chunk, dueMs: lineFreeMs + delayMs });
    heldBytes += length;
    if (heldBytes > heldMax) from.pause();
    if (!waiting) setTimeout(deliver, delayMs);
    waiting = true;
  }

  function deliver(): void {
    const now = performance.now();
    to.cork();
    for (let next = held[0]; next !== undefined && next.dueMs <= now; next = held[0]) {
      held.shift();
      heldBytes -= next.chunk?.length ?? 0;
      if (next.chunk === undefined) to.end();
      else to.write(next.chunk);
    }
    to.uncork();
    if (heldBytes <= heldMax) from.resume();
    const [next] = held;
    waiting = next !== undefined;
    if (next !== undefined) setTimeout(deliver, Math.max(0, next.dueMs - now));
  }

  from.on('data', take);
  from.on('end', () => take(undefined));
  from.on('error', () => to.destroy());
  from.on('close', () => from.readableEnded || to.destroy());
}

async function settings(): Promise<LongPathSettings> {
  // One line; the pipe stays open, so that this process ends with whoever holds the other end.
  let text = '';
  for await (const chunk of process.stdin.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  return JSON.parse(text) as LongPathSettings;
}

const path = await settings();
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
const ports: number[] = [];
for (const target of path.targets) {
  const half = { allowHalfOpen: true, noDelay: true } as const;
  const server = createServer(half, (socket) => {
    const onward = connect({ ...target, ...half });
    pass(socket, onward, path);
    pass(onward, socket, path);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ports.push((server.address() as AddressInfo).port);
}
console.log(JSON.stringify(ports));
