// A workload of the end-to-end tests: holds one connection to echo.store:8080, says something again and again, and makes another one when
// it ends. Answers on HOST and PORT with what came of it: {"echoes": 12, "held": 1, "broken": 0, "refused": 3}. `held` counts
// connections that were answered, `broken` those of them that have ended, `refused` those that ended without an answer.

import { createServer } from 'node:http';
import { connect } from 'node:net';

const seen = { echoes: 0, held: 0, broken: 0, refused: 0 };

function hold() {
  const socket = connect(8080, 'echo.store');
  let answered = false;
  const saying = setInterval(() => socket.write('x'), 50);
  socket.on('data', (data) => {
    if (!answered) seen.held++;
    answered = true;
    seen.echoes += data.length;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    clearInterval(saying);
    if (answered) seen.broken++;
    else seen.refused++;
    setTimeout(hold, 100);
  });
}

createServer((_request, response) => response.end(JSON.stringify(seen))).listen({
  host: process.env.HOST,
  port: Number(process.env.PORT),
});
hold();
