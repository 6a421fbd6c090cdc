// The rules of the monitor: from readings and thresholds to alarms. Pure: durations are counted in the readings' own
// time, so that a replay gives the same alarms whenever it runs.

/** A room as the rules see it: since when each condition has held without a break. */
export function newRoom(name) {
  return { room: name, tooWarmSince: undefined, openSince: undefined, onSince: undefined };
}

/** Updates the room with a reading; returns the kinds of alarm that hold now, each with its message. */
export function judge(room, reading, thresholds) {
  const at = Date.parse(reading.time);
  const limit = thresholds.tooWarm.limitCelsius[reading.room];
  room.tooWarmSince = limit !== undefined && reading.temperature > limit ? (room.tooWarmSince ?? at) : undefined;
  room.openSince = reading.door === 'open' ? (room.openSince ?? at) : undefined;
  room.onSince = reading.compressor === 'on' ? (room.onSince ?? at) : undefined;

  const lasted = (since) => (since === undefined ? -1 : (at - since) / 1_000);
  const minutes = (since) => Math.round(lasted(since) / 60);
  const holding = [];
  if (lasted(room.tooWarmSince) >= thresholds.tooWarm.forSeconds) {
    const message = `${reading.temperature.toFixed(1)} °C, above ${limit} °C for ${minutes(room.tooWarmSince)} minutes`;
    holding.push({ kind: 'too-warm', message });
  }
  if (lasted(room.openSince) >= thresholds.doorOpen.forSeconds) {
    holding.push({ kind: 'door-open', message: `door open for ${minutes(room.openSince)} minutes` });
  }
  if (lasted(room.onSince) >= thresholds.compressorFailing.withoutPauseForSeconds) {
    const message = `compressor has run without a pause for ${minutes(room.onSince)} minutes at ${reading.current} A`;
    holding.push({ kind: 'compressor-failing', message });
  }
  return holding;
}

/** The thresholds when they are complete; throws an Error that names the field otherwise. */
export function checkThresholds(value) {
  const seconds = (path, number) => {
    if (!(typeof number === 'number' && number >= 0)) throw new Error(`${path} must be a number of seconds, 0 or more`);
  };
  seconds('tooWarm.forSeconds', value?.tooWarm?.forSeconds);
  seconds('doorOpen.forSeconds', value?.doorOpen?.forSeconds);
  seconds('compressorFailing.withoutPauseForSeconds', value?.compressorFailing?.withoutPauseForSeconds);
  for (const [room, limit] of Object.entries(value.tooWarm.limitCelsius ?? {})) {
    if (typeof limit !== 'number') throw new Error(`tooWarm.limitCelsius.${room} must be a number`);
  }
  return { ...value, tooWarm: { limitCelsius: {}, ...value.tooWarm } };
}
