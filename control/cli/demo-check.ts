// The demo's look from outside: does the dashboard answer with readings that come from the sensor's own process, and do they grow?
// Called by demo.ts.

import type { InstanceView } from '../views.ts';
import type { Host } from './host.ts';
import { demoCheckEveryMs, demoCheckGrowthMs } from './limits.ts';

export interface Requests {
  sent: number;
  ok: number;
}

interface Answer {
  readings: number;
  stale: boolean;
  problems: string[];
  /** Who made the readings: passed on by every program on the way. */
  sensor: { node: string | null; pid: number } | null;
}

/** The address on which an instance's port `http` listens; undefined while its node has not said so. */
export function urlOf(instance: InstanceView): string | undefined {
  const address = instance.addresses?.find(({ port }) => port === 'http');
  if (address === undefined) return undefined;
  return `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.hostPort}`;
}

async function ask(url: string, signal: AbortSignal): Promise<Answer> {
  const response = await fetch(`${url}/api`, { signal });
  if (!response.ok) throw new Error(`${url}/api answered ${response.status}`);
  return (await response.json()) as Answer;
}

/** Why the answer does not count yet; undefined when it holds readings of that sensor. */
export function lacking(answer: Answer, sensor: InstanceView): string | undefined {
  if (answer.stale) return `the dashboard's data is stale: ${answer.problems.join('; ')}`;
  if (answer.readings < 1) return 'there are no readings yet';
  if (answer.sensor?.pid !== sensor.pid) {
    return `the readings come from process ${answer.sensor?.pid}, the sensor is process ${sensor.pid} on ${sensor.node}`;
  }
  if (answer.sensor?.node !== null && answer.sensor?.node !== sensor.node) {
    return `the readings come from ${answer.sensor?.node}, the sensor is on ${sensor.node}`;
  }
  return undefined;
}

export interface Check {
  host: Host;
  url: string;
  sensor: InstanceView;
  requests: Requests;
  signal: AbortSignal;
}

/** Resolves once readings of that sensor have grown by at least one a second; counts in `requests` as it goes. */
export async function checkDashboard({ host, url, sensor, requests, signal }: Check): Promise<void> {
  let first: { at: number; readings: number } | undefined;
  let why = 'no answer yet';
  try {
    for (;;) {
      requests.sent++;
      const answer = await ask(url, signal);
      requests.ok++;
      const now = host.clock.now();
      const lack = lacking(answer, sensor);
      if (lack !== undefined) first = undefined;
      else first ??= { at: now, readings: answer.readings };
      why = lack ?? `readings have not grown beyond ${answer.readings}`;
      if (first !== undefined && now - first.at >= demoCheckGrowthMs) {
        if (answer.readings - first.readings >= Math.floor((now - first.at) / 1_000)) return;
        first = { at: now, readings: answer.readings };
      }
      await host.clock.sleep(demoCheckEveryMs, signal);
    }
  } catch (error) {
    if (signal.aborted) throw new Error(`${(signal.reason as Error).message}; ${why}`, { cause: error });
    throw new Error(`${(error as Error).message}${causeText(error)}`, { cause: error });
  }
}

/** What fetch hides behind "fetch failed". */
function causeText(error: unknown): string {
  const { cause } = error as { cause?: { message?: unknown } };
  return typeof cause?.message === 'string' ? `: ${cause.message}` : '';
}
