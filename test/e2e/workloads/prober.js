// A workload of the failover tests and bench: makes a new connection to `far` each 25 ms, whatever became of those before, and holds one
// connection to `far` and one to `beside`. Writes a line for each thing that happens to `beats` in its folder, with times in ms since 1970.

import { appendFileSync } from 'node:fs';
import { connect } from 'node:net';

const everyMs = 25;
const beatMs = 100;
/** Attempts that are open at once: some seconds' worth. */
const attemptsMax = 200;
const write = (...words) => appendFileSync('beats', `${words.join(' ')}\n`);
let attempts = 0;

function attempt() {
  if (attempts >= attemptsMax) return;
  attempts += 1;
  const begunAt = Date.now();
  const socket = connect({ host: 'far', port: 8080 });
  socket.setTimeout(20_000, () => socket.destroy());
  socket.write('x');
  socket.once('data', () => {
    write('ok', begunAt, Date.now());
    socket.destroy();
  });
  socket.on('error', () => undefined);
  socket.once('close', () => {
    attempts -= 1;
  });
}

/** A byte there and back each tenth of a second, for as long as it holds. */
function hold(name) {
  const socket = connect({ host: name, port: 8080 });
  let beats = 0;
  const timer = setInterval(() => socket.write('x'), beatMs);
  socket.on('data', () => {
    beats += 1;
    write('held', name, beats, Date.now());
  });
  socket.on('error', () => undefined);
  socket.once('close', () => {
    clearInterval(timer);
    if (beats > 0) write('lost', name, beats, Date.now());
    setTimeout(hold, beatMs, name);
  });
}

setInterval(attempt, everyMs);
hold('far');
hold('beside');
