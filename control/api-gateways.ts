// The API's routes about Gateways and their grants. Called by api.ts; `apply` makes and changes Gateways. A token is in the answer that
// makes it and in no other.

import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { readBody } from './api-requests.ts';
import { NotFoundError } from './errors.ts';
import { clientCertificate, grantName, grantRanges } from './gateway-schema.ts';
import { type GrantRequest, gatewayAction } from './gateways.ts';
import { grantMsMax } from './limits.ts';
import type { GatewayView, GrantedView, GrantView } from './views.ts';

export interface GatewayFunctions {
  gateways(): Promise<GatewayView[]>;
  gateway(project: string, name: string): Promise<GatewayView | undefined>;
  deleteGateway(project: string, name: string): Promise<void>;
  createGrant(project: string, gateway: string, request: GrantRequest): Promise<GrantedView>;
  revokeGrant(project: string, gateway: string, grant: string): Promise<GrantView>;
  /** PEM: what clients outside must trust to trust the fabric's certificates. */
  rootCertificate(): Promise<string>;
}

const grantSchema = z
  .strictObject({
    name: grantName.optional(),
    cidrs: grantRanges.optional(),
    token: z.boolean().default(false).describe('true or false'),
    clientCertificate: clientCertificate.optional(),
    forMs: z.int().min(1).max(grantMsMax).describe(`milliseconds, from 1 to ${grantMsMax}`).optional(),
  })
  .describe('{name, cidrs, token, clientCertificate, forMs}');

export function addGatewayRoutes(
  app: Hono,
  options: GatewayFunctions,
  readJson: (context: Context) => Promise<unknown>,
): void {
  app.get('/v1/root-certificate', async (context) => context.json({ pem: await options.rootCertificate() }));
  app.get('/v1/gateways', async (context) => context.json(await options.gateways()));
  app.get('/v1/gateways/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    const one = await options.gateway(project, name);
    if (one === undefined) throw new NotFoundError('Gateway', `${project}/${name}`, gatewayAction);
    return context.json(one);
  });
  app.delete('/v1/gateways/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    await options.deleteGateway(project, name);
    return context.json({ deleted: { project, name } });
  });
  app.post('/v1/gateways/:project/:name/grants', async (context) => {
    const { project, name } = context.req.param();
    const request = readBody(grantSchema, await readJson(context));
    return context.json(await options.createGrant(project, name, request), 201);
  });
  app.delete('/v1/gateways/:project/:name/grants/:grant', async (context) => {
    const { project, name, grant } = context.req.param();
    return context.json(await options.revokeGrant(project, name, grant));
  });
}
