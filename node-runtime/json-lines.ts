// Lines of JSON on a stream, as Docker sends events and the steps of a pull. Called by docker-watch.ts and docker-client.ts. It holds
// one line at most, and leaves out one that is too long: the labels of an image, which anybody may have made, are in each event of its
// containers.

import type { Readable } from 'node:stream';
import { DOCKER_LINE_BYTES_MAX } from './limits.ts';

export async function* jsonLines<T>(stream: Readable): AsyncGenerator<T, void, undefined> {
  let held = '';
  let tooLong = false;
  for await (const bytes of stream) {
    const parts = String(bytes).split('\n');
    const last = parts.pop() ?? '';
    for (const part of parts) {
      const line = held + part;
      if (!tooLong && line.trim() !== '') yield JSON.parse(line) as T;
      [held, tooLong] = ['', false];
    }
    if (tooLong) continue;
    held += last;
    if (held.length > DOCKER_LINE_BYTES_MAX) [held, tooLong] = ['', true];
  }
}
