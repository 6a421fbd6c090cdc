// Which names each container, or program with a network of its own, was told, by the address that it asks from, and what an asker hears.
// Pure state and decisions: called by docker-engine.ts and process-networks.ts, which fill it, and name-server.ts, which asks. What one container was told no other one learns.

import type { Launch } from './engine.ts';

/** What to answer: an address, that the name has none of that type, that there is no such name, or ask the box's resolvers. */
export type NameAnswer =
  | { kind: 'address'; address: string }
  | { kind: 'no-data' }
  | { kind: 'no-name' }
  | { kind: 'elsewhere' };

export interface ContainerNames {
  /** Replaces what the container at that address may resolve; effective with its next question. */
  tell(asker: string, hosts: Launch['hosts']): void;
  forget(asker: string): void;
  knows(asker: string): boolean;
  /** Undefined: nobody that this node runs has that address. */
  answer(asker: string, question: { name: string; type: string }): NameAnswer | undefined;
}

interface Told {
  addresses: ReadonlyMap<string, string>;
  /** `.<application>.<project>` of what it was told: nothing else below is anywhere else. */
  own: ReadonlySet<string>;
}

export function createContainerNames(): ContainerNames {
  const byAsker = new Map<string, Told>();
  return {
    tell(asker, hosts) {
      const pairs = hosts.flatMap(({ address, names }) =>
        names.map((name): [string, string] => [name.toLowerCase(), address]),
      );
      const own = pairs.flatMap(([name]) => (name.split('.').length === 3 ? [name.slice(name.indexOf('.'))] : []));
      byAsker.set(asker, { addresses: new Map(pairs), own: new Set(own) });
    },
    forget: (asker) => void byAsker.delete(asker),
    knows: (asker) => byAsker.has(asker),
    answer(asker, question) {
      const told = byAsker.get(asker);
      return told && answerFrom(told, question);
    },
  };
}

function answerFrom({ addresses, own }: Told, { name, type }: { name: string; type: string }): NameAnswer {
  const asked = name.toLowerCase().replace(/\.$/, '');
  const address = addresses.get(asked);
  if (address !== undefined) return type === 'A' || type === 'ANY' ? { kind: 'address', address } : { kind: 'no-data' };
  // A name of one label can only be a service: resolvers do not send such names out (systemd-resolved's default too).
  if (asked !== '' && !asked.includes('.')) return { kind: 'no-name' };
  return [...own].some((domain) => asked.endsWith(domain)) ? { kind: 'no-name' } : { kind: 'elsewhere' };
}
