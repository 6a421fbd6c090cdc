// What a command works with: the host, the data folder and its daemon's client, the form of output. Made once per command
// from the global options.

import type { Command } from 'commander';
import { type Client, createClient } from './client.ts';
import { dataFolderOf, socketPathOf } from './data-folder.ts';
import type { Host } from './host.ts';

export interface GlobalOptions {
  data?: string;
  /** `dot` for `topology` alone: program.ts refuses it elsewhere. */
  output: 'table' | 'json' | 'dot';
}

export interface Context {
  host: Host;
  dataFolder: string;
  json: boolean;
  form: GlobalOptions['output'];
  client: Client;
}

/** Throws UsageError when the data folder's path is too long for a socket. */
export function contextOf(host: Host, command: Command): Context {
  const options = command.optsWithGlobals<GlobalOptions>();
  const dataFolder = dataFolderOf(host, options.data);
  const client = createClient({ socketPath: socketPathOf(dataFolder) });
  return { host, dataFolder, json: options.output === 'json', form: options.output, client };
}

/** The same value for every reader, with what JSON lets stand and a terminal may obey written as escapes. */
export function asJson(value: unknown, indent?: number): string {
  const escaped = (text: string): string =>
    Array.from({ length: text.length }, (_, at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`).join('');
  return JSON.stringify(value, undefined, indent).replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

/** Prints the value as JSON with `-o json`, else the text that `render` makes. */
export function print(context: Context, value: unknown, render: () => string): void {
  context.host.out(context.json ? asJson(value, 2) : render());
}

/** Runs `work` with a signal that SIGINT, SIGTERM and SIGHUP abort, for commands that go on until they are told to end. */
export async function untilSignal(host: Host, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const undo = host.onSignal(() => controller.abort());
  try {
    await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
  } finally {
    undo();
  }
}
