// Makes readings.csv: six hours of four cold rooms, one row per room every 30 seconds. The same file at each run: the
// randomness comes from a fixed seed. Run it after a change here: `node make-readings.js > readings.csv`
//
// The model, per room and step: warmth leaks in through the walls, and faster through an open door; a compressor that
// is on takes it out. It switches on 0.8 degrees above its set point and off 0.8 below, so a healthy one pauses often.
// What goes wrong, so that there is something to watch:
//  - fish: the door is left open for six minutes, early, and again in the afternoon;
//  - meat: from step 90 the compressor loses its refrigerant; it runs without a pause, draws less current and the room
//    warms up, until it is repaired at step 400;
//  - all rooms: short door openings at random, as in any working day.

const SEED = 20_260_105;
const STEPS = 720;
const STEP_SECONDS = 30;
const START = Date.UTC(2026, 0, 5, 6, 0, 0);
const AMBIENT_CELSIUS = 18;
const HYSTERESIS_CELSIUS = 0.8;

const rooms = [
  { name: 'dairy', setPoint: 4, leak: 0.006, cooling: 0.3, leftOpen: [] },
  {
    name: 'fish',
    setPoint: 1,
    leak: 0.006,
    cooling: 0.36,
    leftOpen: [
      [10, 22],
      [480, 496],
    ],
  },
  { name: 'meat', setPoint: 2, leak: 0.006, cooling: 0.34, leftOpen: [], failsAt: 90, repairedAt: 400 },
  { name: 'frozen', setPoint: -20, leak: 0.005, cooling: 0.62, leftOpen: [] },
];

/** Mulberry32, a small generator of 32 bits: uniform in [0, 1). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** How much of its cooling the compressor still has: falls over 30 steps once it fails. */
function efficiency(room, step) {
  if (room.failsAt === undefined || step < room.failsAt || step >= room.repairedAt) return 1;
  return Math.max(0.2, 1 - (0.8 * (step - room.failsAt)) / 30);
}

const random = generator(SEED);
const states = rooms.map((room) => ({ temperature: room.setPoint + random() - 0.5, on: random() < 0.4, openFor: 0 }));
const lines = ['time,room,temperature_celsius,door,compressor,current_amperes'];

for (let step = 0; step < STEPS; step++) {
  const time = new Date(START + step * STEP_SECONDS * 1000).toISOString().replace('.000', '');
  for (const [index, room] of rooms.entries()) {
    const state = states[index];
    if (state.openFor > 0) state.openFor--;
    else if (random() < 0.012) state.openFor = 1 + Math.floor(random() * 4);
    const open = state.openFor > 0 || room.leftOpen.some(([from, to]) => step >= from && step < to);

    if (state.temperature > room.setPoint + HYSTERESIS_CELSIUS) state.on = true;
    if (state.temperature < room.setPoint - HYSTERESIS_CELSIUS) state.on = false;
    const strength = efficiency(room, step);
    const warming = (AMBIENT_CELSIUS - state.temperature) * (room.leak + (open ? 0.02 : 0));
    state.temperature += warming - (state.on ? room.cooling * strength : 0) + (random() - 0.5) * 0.08;
    const current = state.on ? 6.4 * (0.55 + 0.45 * strength) + (random() - 0.5) * 0.3 : 0.1;

    lines.push(
      [
        time,
        room.name,
        state.temperature.toFixed(2),
        open ? 'open' : 'closed',
        state.on ? 'on' : 'off',
        current.toFixed(1),
      ].join(','),
    );
  }
}
process.stdout.write(`${lines.join('\n')}\n`);
