// The dashboard: a page and /api, both with what `monitor`, called by name, says. Serves /health too.
// HOST and PORT say where. When the monitor does not answer it shows the last it knew, marked stale.

import { readFileSync } from 'node:fs';
import { call, origin, serve } from './call.js';

const page = readFileSync(new URL('./page.html', import.meta.url), 'utf8');
const nothingYet = { readings: 0, rooms: [], trend: {}, alarms: [], sensor: null, monitor: null, problems: [] };

let last = nothingYet;
/** The call under way: however many pages are open, the monitor gets one call at a time. */
let underWay;

async function ask() {
  try {
    last = await call('monitor', 8081, '/state');
    return last;
  } catch (error) {
    return { ...last, stale: true, problems: [error.message] };
  } finally {
    underWay = undefined;
  }
}

async function api() {
  underWay ??= ask();
  const state = await underWay;
  return { ...state, stale: state.stale ?? false, sensorNode: state.sensor?.node ?? null, dashboard: origin() };
}

serve(8082, (url) => {
  if (url.pathname === '/') return { type: 'text/html; charset=utf-8', body: page };
  if (url.pathname === '/api') return api();
  if (url.pathname === '/health') return { ok: true };
  return undefined;
});
