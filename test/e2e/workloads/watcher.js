// A workload of the end-to-end tests: calls http://called:8080 again and again, each time over a new connection, and prints for each call when
// it was begun and what came of it, in milliseconds since 1970: "1767225600000 2 edge-1", "1767225600010 failed".

import { get } from 'node:http';

function call() {
  const beganAt = Date.now();
  const over = (what) => {
    console.log(`${beganAt} ${what}`);
    setTimeout(call, 10);
  };
  const request = get('http://called:8080/', { agent: false, timeout: 20_000 }, (response) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk) => {
      text += chunk;
    });
    response.on('error', () => over('failed'));
    response.on('end', () => over(text));
  });
  request.on('timeout', () => request.destroy());
  request.on('error', () => over('failed'));
}

call();
