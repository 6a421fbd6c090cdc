// The monitor: gets the readings from `sensor` by name, keeps what each room is like and raises alarms.
// Serves /state and /health. HOST and PORT say where; its thresholds are a Config and may change while it runs.

import { readFileSync, statSync } from 'node:fs';
import { checkThresholds, judge, newRoom } from './alarms.js';
import { call, origin, serve } from './call.js';

const POLL_MS = 400;
const TREND_MAX = 180;
const ALARMS_MAX = 50;
/** More rooms than this are somebody's mistake; readings of further ones are counted, not kept. */
const ROOMS_MAX = 100;
const THRESHOLDS = process.env.THRESHOLDS ?? 'configs/cold-chain-thresholds/thresholds.json';

const rooms = new Map();
/** Active and ended ones, newest first. */
let alarms = [];
let readings = 0;
let sensor = { run: undefined, since: 0, origin: null, heardAt: 0, problem: 'has not answered yet' };
let thresholds = { value: undefined, changedAt: 0, problem: undefined };

/** Reads the thresholds again when their file has changed; a bad file changes nothing and is reported. */
function loadThresholds() {
  try {
    const changedAt = statSync(THRESHOLDS).mtimeMs;
    if (changedAt === thresholds.changedAt) return;
    thresholds = { ...thresholds, changedAt };
    thresholds = {
      value: checkThresholds(JSON.parse(readFileSync(THRESHOLDS, 'utf8'))),
      changedAt,
      problem: undefined,
    };
    console.log(`thresholds read from ${THRESHOLDS}`);
  } catch (error) {
    if (thresholds.problem !== error.message) console.error(`${THRESHOLDS}: ${error.message}`);
    thresholds = { ...thresholds, problem: error.message };
  }
}

function take(reading) {
  readings++;
  const known = rooms.get(reading.room);
  if (known === undefined && rooms.size >= ROOMS_MAX) return;
  const startedAgain = known !== undefined && reading.time < known.latest.time;
  const room = known === undefined || startedAgain ? { trend: [], conditions: newRoom(reading.room) } : known;
  room.latest = reading;
  room.trend.push({ time: reading.time, temperature: reading.temperature });
  if (room.trend.length > TREND_MAX) room.trend.shift();
  rooms.set(reading.room, room);
  if (thresholds.value !== undefined) raise(reading, judge(room.conditions, reading, thresholds.value));
}

/** Begins, refreshes and ends the alarms of the reading's room. */
function raise(reading, holding) {
  for (const { kind, message } of holding) {
    const active = alarms.find((alarm) => alarm.active && alarm.room === reading.room && alarm.kind === kind);
    if (active !== undefined) {
      active.message = message;
      continue;
    }
    console.log(`alarm: ${reading.room}: ${message}`);
    alarms = [{ room: reading.room, kind, message, since: reading.time, active: true }, ...alarms].slice(0, ALARMS_MAX);
  }
  for (const alarm of alarms) {
    if (!alarm.active || alarm.room !== reading.room || holding.some(({ kind }) => kind === alarm.kind)) continue;
    alarm.active = false;
    alarm.until = reading.time;
    console.log(`alarm over: ${alarm.room}: ${alarm.message}`);
  }
}

async function poll() {
  loadThresholds();
  try {
    const answer = await call('sensor', 8080, `/readings?since=${sensor.since}`);
    if (answer.run !== sensor.run && sensor.since > 0) {
      // The sensor was started again and counts from the start: what this answer left out is asked for next time.
      sensor = { ...sensor, run: answer.run, since: 0 };
      return;
    }
    for (const reading of answer.readings) take(reading);
    const since = answer.readings.at(-1)?.number ?? sensor.since;
    if (sensor.problem !== undefined) console.log(`sensor answers: ${JSON.stringify(answer.origin)}`);
    sensor = { run: answer.run, since, origin: answer.origin, heardAt: Date.now(), problem: undefined };
  } catch (error) {
    if (sensor.problem !== error.message) console.error(error.message);
    sensor = { ...sensor, problem: error.message };
  }
}

function state() {
  return {
    readings,
    rooms: [...rooms.values()].map(({ latest }) => ({
      ...latest,
      limit: thresholds.value?.tooWarm.limitCelsius[latest.room] ?? null,
      alarms: alarms.filter((alarm) => alarm.active && alarm.room === latest.room).map((alarm) => alarm.kind),
    })),
    trend: Object.fromEntries([...rooms].map(([name, room]) => [name, room.trend])),
    alarms,
    stale: sensor.problem !== undefined,
    problems: [sensor.problem, thresholds.problem].filter((problem) => problem !== undefined),
    sensor: sensor.origin,
    monitor: origin(),
  };
}

async function pollForEver() {
  await poll();
  setTimeout(pollForEver, POLL_MS);
}

serve(8081, (url) => {
  if (url.pathname === '/state') return state();
  if (url.pathname === '/health') return { ok: true, sensor: sensor.problem ?? 'answers' };
  return undefined;
});
pollForEver();
