// Small UDP workloads for the tunnel to carry, and callers that know whether an answer was theirs.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { ExecutionContext } from 'ava';
import type { CallableService, MicroserviceName } from '../../control/plan.ts';
import type { Endpoint } from '../../mesh/service-network.ts';
import { callable, type NetworkNode } from './tunnel-fixture.ts';

export const udpPort = 5300;

export const callableUdp = (microservice: string, application?: string): CallableService => ({
  ...callable(microservice, udpPort, application),
  protocol: 'udp',
});

export const udpEndpoint = (node: NetworkNode, name: MicroserviceName, index = 0): Endpoint => ({
  ...node.endpoint(name, { index, port: udpPort }),
  protocol: 'udp',
});

async function socketOn(t: ExecutionContext, host: string): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('error', () => undefined);
  socket.bind(0, host);
  await once(socket, 'listening');
  t.teardown(() => {
    try {
      socket.close();
    } catch {
      // The test has closed it.
    }
  });
  return socket;
}

export interface UdpServer {
  port: number;
  /** Source ports that it was asked from. */
  sources: Set<number>;
  received: number;
  close(): void;
}

/** Answers each datagram with what `answer` makes of it. */
export async function serveUdp(
  t: ExecutionContext,
  answer: (payload: Buffer, from: RemoteInfo) => Buffer | undefined = (payload) => payload,
): Promise<UdpServer> {
  const socket = await socketOn(t, '127.0.0.1');
  const server: UdpServer = {
    port: socket.address().port,
    sources: new Set(),
    received: 0,
    close: () => void socket.close(),
  };
  socket.on('message', (payload, from) => {
    server.received += 1;
    server.sources.add(from.port);
    const answered = answer(payload, from);
    if (answered !== undefined) socket.send(answered, from.port, from.address);
  });
  return server;
}

export interface UdpCaller {
  readonly port: number;
  /** In order of arrival, with where they came from. */
  readonly answers: { payload: Buffer; from: string }[];
  send(payload: Buffer | string): Promise<void>;
  /** Sends again every now and then, as UDP programs do, until an answer comes. */
  ask(payload: Buffer | string): Promise<Buffer>;
  /** Undefined when none of the questions is answered within a second. */
  hear(payload: Buffer | string): Promise<Buffer | undefined>;
}

export async function udpCaller(t: ExecutionContext, address: string, port = udpPort): Promise<UdpCaller> {
  const socket = await socketOn(t, '127.0.0.1');
  const answers: UdpCaller['answers'] = [];
  socket.on('message', (payload, from) => answers.push({ payload, from: `${from.address}:${from.port}` }));
  const send = (payload: Buffer | string): Promise<void> =>
    new Promise((resolve, reject) => {
      socket.send(payload, port, address, (error) => (error ? reject(error) : resolve()));
    });
  async function hear(payload: Buffer | string, ms = 1_000): Promise<Buffer | undefined> {
    const before = answers.length;
    await send(payload);
    for (let waited = 0; waited < ms && answers.length === before; waited += 10) {
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    }
    return answers[before]?.payload;
  }
  return {
    port: socket.address().port,
    answers,
    send,
    hear,
    async ask(payload) {
      for (let tries = 0; tries < 60; tries += 1) {
        const answer = await hear(payload);
        if (answer !== undefined) return answer;
      }
      throw new Error(`nobody at ${address}:${port} answered`);
    },
  };
}
