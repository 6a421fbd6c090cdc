// A workload of the end-to-end tests: answers GET /<count> on HOST and PORT with what came of so many calls of http://called:8080,
// one after the other and each over a new connection: ["0 edge-1", "2 edge-2", "failed"].

import { createServer, get } from 'node:http';

const call = () =>
  new Promise((resolve) => {
    const request = get('http://called:8080/', { agent: false, timeout: 20_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', () => resolve('failed'));
      response.on('end', () => resolve(text));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve('failed'));
  });

createServer(async (request, response) => {
  const answers = [];
  for (let left = Number(request.url.slice(1)); left > 0; left--) answers.push(await call());
  response.end(JSON.stringify(answers));
}).listen({ host: process.env.HOST, port: Number(process.env.PORT) });
