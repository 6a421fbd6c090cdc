// The box's packet filter, as far as programs with a network of their own need it: iptables where the box has it (what other programs drop
// by it, Docker among them, must be accepted by it), else nft. Called by process-networks.ts. It touches no rule, chain or table but those
// that carry this node's tag; packet-filter-rules.ts has their words.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { PacketFilterError } from './errors.ts';
import { NETWORK_COMMAND_MS, PACKET_FILTER_BYTES_MAX, PACKET_FILTER_MS } from './limits.ts';
import {
  type FilterAbility,
  type FilterFacts,
  iptablesForwards,
  iptablesGateways,
  iptablesGuarded,
  iptablesRemoval,
  iptablesText,
  iptablesWhole,
  nftTable,
  nftText,
} from './packet-filter-rules.ts';
import type { findCommand } from './process-tools.ts';

export interface PacketFilter extends FilterAbility {
  readonly name: 'iptables' | 'nft';
  /** Makes the rules, or makes them whole again. Throws PacketFilterError, as all of these do. */
  install(facts: FilterFacts): Promise<void>;
  isWhole(facts: FilterFacts): Promise<boolean>;
  /** Of this node; nothing where there are none. */
  remove(tag: string): Promise<void>;
  /** Of all nodes of this box: the box's address on their networks, by their tags. */
  gateways(): Promise<Map<string, string>>;
  /** That node, or some node of this box, guards what is forwarded: forwarding is on for the sake of nodes alone. */
  isGuarded(tag?: string): Promise<boolean>;
  /** Others than this node count on what the box forwards. */
  othersForward(tag: string): Promise<boolean>;
}

export interface PacketFilterSearch {
  find: typeof findCommand;
  /** Runs a command in a network namespace of its own. */
  alone: readonly string[];
  /** Tests only: runs a command in the network that the rules are for. */
  inside?: readonly string[];
}

/** Runs a command with these words at its stdin; resolves with what it prints. */
type Run = (command: readonly string[], input?: string) => Promise<string>;

const run: Run = async (command, input = '') => {
  const [file = '', ...words] = command;
  const running = promisify(execFile)(file, words, {
    timeout: NETWORK_COMMAND_MS,
    maxBuffer: PACKET_FILTER_BYTES_MAX,
    encoding: 'utf8',
  });
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(input);
  try {
    return (await running).stdout;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new PacketFilterError(file, (stderr || message).trim().split('\n')[0]?.slice(0, 200) ?? '', { cause: error });
  }
};

/** Somebody else may be at it. */
const wait = ['--wait', `${Math.floor(PACKET_FILTER_MS / 1_000)}`];

function byIptables(
  [restore, save]: readonly [string, string],
  ability: FilterAbility,
  before: readonly string[] = [],
): PacketFilter {
  const saved = (): Promise<string> => run([...before, save]);
  const change = (text: string): Promise<string> => run([...before, restore, '--noflush', ...wait], text);
  return {
    ...ability,
    name: 'iptables',
    install: async (facts) => void (await change(iptablesText(facts, ability, await saved()))),
    isWhole: async (facts) => iptablesWhole(facts, ability, await saved()),
    async remove(tag) {
      const text = iptablesRemoval(tag, await saved());
      if (text !== undefined) await change(text);
    },
    gateways: async () => iptablesGateways(await saved()),
    isGuarded: async (tag) => iptablesGuarded(await saved(), tag),
    othersForward: async (tag) => iptablesForwards(tag, await saved()),
  };
}

function byNft([nft]: readonly [string], ability: FilterAbility, before: readonly string[] = []): PacketFilter {
  const list = (): Promise<string> => run([...before, nft, 'list', 'ruleset']);
  const count = (text: string, what: RegExp): number => text.match(what)?.length ?? 0;
  const part = (ruleset: string, tag: string): string =>
    ruleset.split(/^(?=table )/m).find((one) => one.startsWith(`table ip ${nftTable(tag)} `)) ?? '';
  return {
    ...ability,
    name: 'nft',
    install: async (facts) => void (await run([...before, nft, '--file', '-'], nftText(facts, ability))),
    async isWhole(facts) {
      const there = part(await list(), facts.tag);
      // Written in its own words: what it prints has as many chains and lines that decide.
      const wanted = nftText(facts, ability);
      return [/^\s*chain /gm, /\b(accept|reject|drop|masquerade|jump inside)\b/g].every(
        (what) => count(there, what) >= count(wanted, what),
      );
    },
    async remove(tag) {
      const own = nftTable(tag);
      await run([...before, nft, '--file', '-'], `table ip ${own}\ndelete table ip ${own}\n`);
    },
    async gateways() {
      const tables = (await list()).split(/^(?=table )/m);
      return new Map(
        tables.flatMap((one) => {
          const found = one.match(/^table ip selvedge_([0-9a-f]{4}) /)?.[1];
          const gateway = one.match(/ip daddr (\S+) udp dport 53/)?.[1];
          return found === undefined || gateway === undefined ? [] : [[found, gateway] as const];
        }),
      );
    },
    async isGuarded(tag = '[0-9a-f]{4}') {
      const tables = (await list()).split(/^(?=table )/m);
      return tables.some((one) => new RegExp(`^table ip ${nftTable(tag)} `).test(one) && one.includes('chain guard {'));
    },
    async othersForward(tag) {
      const ruleset = await list();
      return /hook forward/.test(ruleset.replace(part(ruleset, tag), ''));
    },
  };
}

/** For the trial; the addresses are nobody's there. */
const trial: FilterFacts = {
  tag: '0000',
  links: 'sv-0000',
  instances: '198.18.0.0/22',
  services: '198.18.4.0/22',
  gateway: '198.18.0.1',
  apart: ['198.18.0.0/15'],
  published: [],
  guard: true,
};

/** Only one that says who it is: others have programs of that name, too. */
async function findReal(named: PacketFilterSearch['find'], program: string, says: RegExp): Promise<string | undefined> {
  const path = await named(program);
  const said = path === undefined ? '' : await run([path, '--version']).catch(() => '');
  return says.test(said) ? path : undefined;
}

/** Tries the rules out where they are nobody's. Never throws. */
export async function findPacketFilter({
  find,
  alone,
  inside,
}: PacketFilterSearch): Promise<PacketFilter | { reason: string }> {
  const [restore, save, nft] = await Promise.all([
    findReal(find, 'iptables-restore', /^iptables/),
    findReal(find, 'iptables-save', /^iptables/),
    findReal(find, 'nft', /^nftables/),
  ]);
  let reason = 'this box has no iptables, no nft';
  for (const listeners of [true, false]) {
    const filters = [
      ...(restore === undefined || save === undefined
        ? []
        : [(before?: readonly string[]) => byIptables([restore, save], { listeners }, before)]),
      ...(nft === undefined ? [] : [(before?: readonly string[]) => byNft([nft], { listeners }, before)]),
    ];
    for (const make of filters) {
      try {
        await make(alone).install(trial);
        return make(inside);
      } catch (error) {
        reason = (error as Error).message;
      }
    }
  }
  return { reason };
}
