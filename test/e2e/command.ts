// One command of the real program, for the end-to-end tests that use the command line itself.

import { execFile } from 'node:child_process';
import { program } from './daemon.ts';

export interface Ran {
  status: number;
  out: string;
  error: string;
}

/** Against the daemon of a data folder; never rejects. */
export function selvedge(dataFolder: string, ...args: string[]): Promise<Ran> {
  const { promise, resolve } = Promise.withResolvers<Ran>();
  execFile(process.execPath, [program, '--data', dataFolder, ...args], (error, out, errorText) =>
    resolve({ status: error === null ? 0 : Number(error.code), out, error: errorText }),
  );
  return promise;
}

/** The same with `-o json`; rejects with what it printed when there is no answer. */
export async function selvedgeJson<T>(dataFolder: string, ...args: string[]): Promise<T> {
  const { out, error } = await selvedge(dataFolder, ...args, '-o', 'json');
  if (out === '') throw new Error(error);
  return JSON.parse(out) as T;
}
