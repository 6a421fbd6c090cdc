// The gateway port of the simulation: it listens nowhere, and is always free. Made by scenarios and by tests of node-runtime.

import type { OpenGateway } from '../mesh/gateway.ts';

export const openSimGateway: OpenGateway = async () => ({
  update: () => undefined,
  connections: 0,
  refused: 0,
  close: async () => undefined,
});
