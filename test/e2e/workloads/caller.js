// A workload of the end-to-end tests: calls http://called:8080 by name again and again, each time over a new connection, and
// answers on HOST and PORT with what came of it: {"ok": 12, "failed": 0, "pid": 4711, "reason": ""}. `pid` is what the last good
// answer said.

import { createServer, get } from 'node:http';

const seen = { ok: 0, failed: 0, pid: 0, reason: '' };

function fail(error) {
  seen.failed++;
  seen.reason = error.message;
}

function again() {
  setTimeout(call, 50);
}

function call() {
  const request = get('http://called:8080/', { agent: false, timeout: 2_000 }, (response) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk) => {
      text += chunk;
    });
    response.on('error', fail);
    response.on('end', () => {
      if (response.statusCode !== 200) return fail(new Error(`status ${response.statusCode}`));
      seen.ok++;
      seen.pid = Number(text);
    });
  });
  request.on('timeout', () => request.destroy(new Error('no answer')));
  request.on('error', fail);
  request.on('close', again);
}

createServer((_request, response) => response.end(JSON.stringify(seen))).listen({
  host: process.env.HOST,
  port: Number(process.env.PORT),
});
call();
