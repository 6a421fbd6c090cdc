// Lines of JSON on a stream, as Docker sends events and the steps of a pull. Called by docker-watch.ts and docker-client.ts. It holds
// one line at most.

import type { Readable } from 'node:stream';
import { DOCKER_LINE_BYTES_MAX } from './limits.ts';

export async function* jsonLines<T>(stream: Readable): AsyncGenerator<T, void, undefined> {
  let rest = '';
  for await (const bytes of stream) {
    const lines = (rest + String(bytes)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > DOCKER_LINE_BYTES_MAX) throw new Error('Docker sent a line without an end');
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T;
  }
}
