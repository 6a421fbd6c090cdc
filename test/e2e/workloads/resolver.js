// A workload of the end-to-end tests: a name server (RFC 1035) that gives every name the address 192.0.2.7, and as text the node that it
// runs on. By UDP on PORT_DNS; by TCP, on the same number, it says that it is there.

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const { HOST, PORT_DNS, PORT_DNS_TCP, SELVEDGE_NODE } = process.env;
const types = {
  1: Buffer.from([192, 0, 2, 7]),
  16: Buffer.from([SELVEDGE_NODE.length, ...Buffer.from(SELVEDGE_NODE)]),
};

/** The question again, and behind it its answer, where it has one. */
function answer(query) {
  let end = 12;
  while (query[end] !== 0) end += 1 + query[end];
  end += 5;
  const data = types[query.readUInt16BE(end - 4)];
  const response = Buffer.from(query.subarray(0, end));
  response.writeUInt16BE(0x8580, 2);
  response.writeUInt16BE(data === undefined ? 0 : 1, 6);
  response.writeUInt32BE(0, 8);
  if (data === undefined) return response;
  const record = Buffer.from([0xc0, 12, ...query.subarray(end - 4, end), 0, 0, 0, 0, 0, data.length]);
  return Buffer.concat([response, record, data]);
}

const socket = createSocket('udp4');
socket.on('message', (query, { address, port }) => socket.send(answer(query), port, address));
socket.bind(Number(PORT_DNS), HOST);
createServer((connection) => {
  // A probe connects and goes.
  connection.on('error', () => undefined);
  connection.end(`same number: ${PORT_DNS === PORT_DNS_TCP}`);
}).listen(Number(PORT_DNS_TCP), HOST);
