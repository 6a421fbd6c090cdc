// The sensor of a site: replays the readings of four cold rooms from readings.csv, from the start again at the end.
// Serves /readings?since=N (what came after reading N) and /health. HOST and PORT say where.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { origin, serve } from './call.js';

const ROWS_PER_SECOND = 8;
/** What a caller that was away can still get; older readings are gone. */
const KEPT_MAX = 2_000;
const ANSWERED_MAX = 500;

const rows = readFileSync(new URL('./readings.csv', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .slice(1)
  .map((line) => {
    const [time, room, temperature, door, compressor, current] = line.split(',');
    return { time, room, temperature: Number(temperature), door, compressor, current: Number(current) };
  });

/** Another value after each start: tells callers that the numbers began again. */
const run = randomUUID();
const kept = [];
let latest = 0;

function replay() {
  latest++;
  kept.push({ number: latest, ...rows[(latest - 1) % rows.length] });
  if (kept.length > KEPT_MAX) kept.shift();
}

function readingsSince(text) {
  const since = Number(text ?? 0);
  const after = Number.isSafeInteger(since) && since >= 0 && since <= latest ? since : 0;
  const readings = kept.filter((reading) => reading.number > after).slice(0, ANSWERED_MAX);
  return { origin: origin(), run, latest, readings };
}

replay();
setInterval(replay, 1_000 / ROWS_PER_SECOND);

serve(8080, (url) => {
  if (url.pathname === '/readings') return readingsSince(url.searchParams.get('since'));
  if (url.pathname === '/health') return { ok: true, rows: rows.length, latest };
  return undefined;
});
