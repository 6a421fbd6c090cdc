// What nodes say of calls that go wrong, beside the instances concerned: who cannot call, and who is passed over by whom. Pure; called by
// status.ts. A node writes it: nothing in it is taken on trust.

import { z } from 'zod';
import type { ObservedCalls, ObservedNode } from './fabric.ts';
import { callReasonCharactersMax, callsShownMax } from './limits.ts';
import type { InstanceView } from './views.ts';

const text = z.string();
const reason = text.transform((value) => value.slice(0, callReasonCharactersMax));
const ejected = z.object({ instance: text, port: z.number(), reason, failures: z.number(), until: z.number() });
const failing = z.object({ caller: text, called: text, reason, since: z.number() });

function readAll<T>(value: unknown, shape: z.ZodType<T>): T[] {
  const list = Array.isArray(value) ? value.slice(0, callsShownMax) : [];
  return list.flatMap((one) => shape.safeParse(one).data ?? []);
}

function readCalls(node: ObservedNode | undefined): ObservedCalls {
  const said: Partial<Record<keyof ObservedCalls, unknown>> = node?.calls ?? {};
  return { ejected: readAll(said.ejected, ejected), failing: readAll(said.failing, failing) };
}

export type CallTroubles = Pick<InstanceView, 'failingCalls' | 'passedOver'>;

/** By instance; `said` has of each node what it said last, as long as it can be heard. */
export function callTroubles(
  said: Iterable<[node: string, observed: ObservedNode | undefined]>,
): Map<string, CallTroubles> {
  const all = new Map<string, Required<CallTroubles>>();
  const of = (instance: string): Required<CallTroubles> => {
    const known = all.get(instance) ?? { failingCalls: [], passedOver: [] };
    all.set(instance, known);
    return known;
  };
  for (const [by, observed] of said) {
    const calls = readCalls(observed);
    for (const { caller, ...call } of calls.failing) of(caller).failingCalls.push(call);
    for (const { instance, ...ejection } of calls.ejected) of(instance).passedOver.push({ by, ...ejection });
  }
  return new Map(
    [...all].map(([instance, { failingCalls, passedOver }]) => [
      instance,
      {
        ...(failingCalls.length > 0 && { failingCalls: failingCalls.slice(0, callsShownMax) }),
        ...(passedOver.length > 0 && { passedOver: passedOver.slice(0, callsShownMax) }),
      },
    ]),
  );
}
