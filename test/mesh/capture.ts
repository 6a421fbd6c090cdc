// What crosses the interfaces of a network namespace, both ways, as tcpdump(8) sees it; for tests that look for what must not be there. Needs
// root and tcpdump. The file lies in a folder of the caller's.

import { execFileSync, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import { eventually } from '../eventually.ts';

/** Undefined when a capture is possible here. */
export function captureMissing(): string | undefined {
  try {
    execFileSync('tcpdump', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'tcpdump is not installed';
  }
}

export interface Captured {
  /** Of all TCP segments, one after the other as they came. */
  readonly payload: Buffer;
  /** Bytes of payload by `<source> > <destination>`, IPv4 addresses. */
  readonly bytes: ReadonlyMap<string, number>;
}

export interface Capture {
  /** What has been written so far: later than it crossed, on a busy box by a second and more. */
  now(): Promise<Captured>;
  /** Ends it; rejects when packets were lost, since what was not seen proves nothing. */
  end(): Promise<Captured>;
}

/** Of every interface of the box; runs when this resolves. */
export async function startCapture(t: ExecutionContext, box: string, file: string): Promise<Capture> {
  const form = ['-y', 'LINUX_SLL', '-s', '0', '-B', '65536', '--immediate-mode', '-U', '-Z', 'root', '-w', file];
  const options = ['-i', 'any', ...form, 'tcp'];
  const child = spawn('ip', ['netns', 'exec', box, 'tcpdump', ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => {
    said += data;
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await eventually(() => said.includes('listening on'), { deadlineMs: 60_000, what: `tcpdump listens: ${said}` });
  return {
    now: async () => readCapture(await readFile(file)),
    async end() {
      child.kill('SIGINT');
      await ended;
      if (!/^0 packets dropped by kernel/m.test(said)) throw new Error(`the capture is not whole: ${said}`);
      return readCapture(await readFile(file));
    },
  };
}

/** Of the file, of each packet, and what comes before IP in one of "any" interface (LINKTYPE_LINUX_SLL). */
const fileHeaderBytes = 24;
const packetHeaderBytes = 16;
const linkHeaderBytes = 16;

/** The format is that of draft-ietf-opsawg-pcap, in this box's byte order, which is little-endian. */
function readCapture(file: Buffer): Captured {
  const payloads: Buffer[] = [];
  const bytes = new Map<string, number>();
  for (let at = fileHeaderBytes; at + packetHeaderBytes <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    const packet = file.subarray(at + packetHeaderBytes, at + packetHeaderBytes + length);
    // The last one is being written.
    if (packet.length < length) break;
    at += packetHeaderBytes + length;
    const ip = packet.subarray(linkHeaderBytes);
    if (packet.readUInt16BE(linkHeaderBytes - 2) !== 0x0800 || ip[9] !== 6) continue;
    const tcp = ip.subarray((ip.readUInt8(0) & 15) * 4, ip.readUInt16BE(2));
    const payload = tcp.subarray((tcp.readUInt8(12) >> 4) * 4);
    const way = `${[...ip.subarray(12, 16)].join('.')} > ${[...ip.subarray(16, 20)].join('.')}`;
    bytes.set(way, (bytes.get(way) ?? 0) + payload.length);
    payloads.push(payload);
  }
  return { payload: Buffer.concat(payloads), bytes };
}

/** In which forms the text is there: as it is, in hexadecimal, or in base64 wherever in a stream it begins. */
export function formsFound({ payload }: Pick<Captured, 'payload'>, text: string): string[] {
  const forms = new Map([
    ['plain', text],
    ['UTF-16', Buffer.from(text, 'utf16le').toString('latin1')],
    ['reversed', [...text].reverse().join('')],
    ['hexadecimal', Buffer.from(text).toString('hex')],
    ['HEXADECIMAL', Buffer.from(text).toString('hex').toUpperCase()],
  ]);
  for (const before of [0, 1, 2]) {
    // Without the characters that its neighbours in the stream have a part in.
    const padded = Buffer.concat([Buffer.alloc(before), Buffer.from(text)]);
    const whole = padded.subarray(before === 0 ? 0 : 3, padded.length - (padded.length % 3));
    forms.set(`base64 at ${before}`, whole.toString('base64'));
    forms.set(`base64url at ${before}`, whole.toString('base64url'));
  }
  return [...forms].filter(([, form]) => payload.includes(form, 0, 'latin1')).map(([name]) => name);
}
