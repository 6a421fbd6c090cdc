// The API's routes about Configs and Secrets. Called by api.ts. What it answers never holds a value of a Secret.

import type { Context, Hono } from 'hono';
import { readBody, secretChangeSchema } from './api-requests.ts';
import type { ContentKind, SecretChange } from './contents.ts';
import { NotFoundError } from './errors.ts';
import type { AppliedView, ContentView } from './views.ts';

export interface ContentFunctions {
  contents(kind: ContentKind): Promise<ContentView[]>;
  content(kind: ContentKind, project: string, name: string): Promise<ContentView | undefined>;
  /** Refused while somebody uses it. */
  deleteContent(kind: ContentKind, project: string, name: string): Promise<void>;
  setSecret(project: string, name: string, change: SecretChange): Promise<AppliedView>;
}

export function addContentRoutes(
  app: Hono,
  options: ContentFunctions,
  readJson: (context: Context) => Promise<unknown>,
): void {
  for (const kind of ['config', 'secret'] as const) {
    const what = kind === 'config' ? 'Config' : 'Secret';
    app.get(`/v1/${kind}s`, async (context) => context.json(await options.contents(kind)));
    app.get(`/v1/${kind}s/:project/:name`, async (context) => {
      const { project, name } = context.req.param();
      const one = await options.content(kind, project, name);
      if (one === undefined)
        throw new NotFoundError(what, `${project}/${name}`, `\`selvedge ${kind}s list\` lists those that there are.`);
      return context.json(one);
    });
    app.delete(`/v1/${kind}s/:project/:name`, async (context) => {
      const { project, name } = context.req.param();
      await options.deleteContent(kind, project, name);
      return context.json({ deleted: { project, name } });
    });
  }
  app.post('/v1/secrets/:project/:name', async (context) => {
    const { project, name } = context.req.param();
    const change = readBody(secretChangeSchema, await readJson(context));
    return context.json(await options.setSecret(project, name, change));
  });
}
