// The API's routes about Policies. Called by api.ts; `apply` makes and changes them.

import type { Hono } from 'hono';
import { NotFoundError } from './errors.ts';
import { policyAction } from './policies.ts';
import type { PolicyView } from './views.ts';

export interface PolicyFunctions {
  policies(): Promise<PolicyView[]>;
  policy(project: string, name: string): Promise<PolicyView | undefined>;
  deletePolicy(project: string, name: string): Promise<void>;
}

export function addPolicyRoutes(app: Hono, options: PolicyFunctions): void {
  app.get('/v1/policies', async (context) => context.json(await options.policies()));
  app.get('/v1/policies/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    const one = await options.policy(project, name);
    if (one === undefined) throw new NotFoundError('Policy', `${project}/${name}`, policyAction);
    return context.json(one);
  });
  app.delete('/v1/policies/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    await options.deletePolicy(project, name);
    return context.json({ deleted: { project, name } });
  });
}
