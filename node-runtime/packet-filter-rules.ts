// What programs with a network of their own may reach of the box and through it, in the words of iptables and of nft. Pure; called by
// packet-filter.ts. Every rule is about our own interfaces or in chains and tables of our own name.
//
//   to the box     its resolver, addresses of services where somebody listens on that very address, and what gateways publish; nothing
//                  else, so no daemon that listens on all addresses
//   through it     everywhere but to other instances of this box; from outside, answers alone. What leads to bridges of other engines is
//                  left to their rules
//   guard          where the box forwarded nothing before, it forwards nothing else now either

import type { PublishedPort } from './published-ports.ts';

export interface FilterFacts {
  /** Four hexadecimal digits: whose the rules are. */
  tag: string;
  /** What the names of the interfaces begin with. */
  links: string;
  /** CIDR: addresses of programs. */
  instances: string;
  services: string;
  gateway: string;
  /** CIDR: all that instances of this box, containers too, may have. */
  apart: string[];
  /** Of the box: reached as from the LAN. */
  published: readonly PublishedPort[];
  guard: boolean;
}

/** `listeners`: the kernel can tell whether a socket was opened for that very address. */
export interface FilterAbility {
  listeners: boolean;
}

const chainsOf = (tag: string) => ({
  in: `SELVEDGE-${tag}-IN`,
  through: `SELVEDGE-${tag}-FWD`,
  out: `SELVEDGE-${tag}-NAT`,
  guard: `SELVEDGE-${tag}-GUARD`,
});

/** What the names of the interfaces of all nodes of a box begin with: no guard is in the way of another node's programs. */
export const allLinks = 'sv-';

/** Bridges of Docker, podman, CNI and libvirt: accepting what goes there would open what their own rules keep closed. */
const otherEngines = ['docker0', 'br-+', 'podman+', 'cni+', 'virbr+'];

/** Lines of iptables-save by table: the chains of its own, their rules, and where they are asked; `last` ones come after all others. */
function iptablesParts(
  { tag, links, instances, services, gateway, apart, published, guard }: FilterFacts,
  { listeners }: FilterAbility,
) {
  const chain = chainsOf(tag);
  const open = listeners ? ' -m socket' : '';
  // The kernel bounds how often it sends ICMP: who calls often would wait for an answer that does not come.
  const refused = ['-p tcp -j REJECT --reject-with tcp-reset', '-j REJECT'];
  const answers = '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT';
  return {
    filter: {
      chains: [chain.in, chain.through, ...(guard ? [chain.guard] : [])],
      rules: [
        `-A ${chain.in} ${answers}`,
        ...['udp', 'tcp'].map(
          (protocol) => `-A ${chain.in} -d ${gateway}/32 -p ${protocol} --dport 53${open} -j ACCEPT`,
        ),
        `-A ${chain.in} -d ${gateway}/32 -p icmp --icmp-type echo-request -j ACCEPT`,
        `-A ${chain.in} -d ${services}${open} -j ACCEPT`,
        ...published.map(
          ({ address, port, protocol }) =>
            `-A ${chain.in}${address === undefined ? '' : ` -d ${address}/32`} -p ${protocol} --dport ${port} -j ACCEPT`,
        ),
        ...refused.map((how) => `-A ${chain.in} ${how}`),
        ...apart.flatMap((range) => refused.map((how) => `-A ${chain.through} -d ${range} -i ${links}+ ${how}`)),
        ...otherEngines.map((bridge) => `-A ${chain.through} -i ${links}+ -o ${bridge} -j RETURN`),
        `-A ${chain.through} -i ${links}+ -j ACCEPT`,
        `-A ${chain.through} -o ${links}+ ${answers}`,
        `-A ${chain.through} -o ${links}+ -j DROP`,
        ...(guard ? [`-A ${chain.guard} -i ${allLinks}+ -j RETURN`, `-A ${chain.guard} -j DROP`] : []),
      ],
      first: [
        `INPUT -i ${links}+ -j ${chain.in}`,
        `FORWARD -i ${links}+ -j ${chain.through}`,
        `FORWARD -o ${links}+ -j ${chain.through}`,
      ],
      last: guard ? [`FORWARD -j ${chain.guard}`] : [],
    },
    nat: {
      chains: [chain.out],
      rules: [`-A ${chain.out} -j MASQUERADE`],
      first: [`POSTROUTING -s ${instances} ! -o ${links}+ -j ${chain.out}`],
      last: [],
    },
  };
}

/** What iptables-save said, by table. */
function tablesOf(saved: string): Map<string, string[]> {
  const tables = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of saved.split('\n').map((one) => one.trim())) {
    if (!line.startsWith('*')) {
      lines.push(line);
      continue;
    }
    lines = [];
    tables.set(line.slice(1), lines);
  }
  return tables;
}

/** Whether it comes after all others: but guards, which several nodes of one box have. */
function isLast(there: readonly string[], jump: string): boolean {
  const [chain = ''] = jump.split(' ');
  const rest = there.slice(there.indexOf(`-A ${jump}`) + 1).filter((line) => line.startsWith(`-A ${chain} `));
  return rest.every((line) => /^-A FORWARD -j SELVEDGE-[0-9a-f]{4}-GUARD$/.test(line));
}

/** For `iptables-restore --noflush`: our chains anew, and what is missing of the rules that lead there. */
export function iptablesText(facts: FilterFacts, ability: FilterAbility, saved: string): string {
  const tables = tablesOf(saved);
  return Object.entries(iptablesParts(facts, ability))
    .flatMap(([table, { chains, rules, first, last }]) => {
      const there = tables.get(table) ?? [];
      const missing = (jumps: string[]) => jumps.filter((jump) => !there.includes(`-A ${jump}`));
      return [
        `*${table}`,
        ...chains.map((chain) => `:${chain} - [0:0]`),
        ...rules,
        ...missing(first).map((jump) => `-I ${jump}`),
        // Who came after it would be cut off.
        ...last.filter((jump) => there.includes(`-A ${jump}`) && !isLast(there, jump)).map((jump) => `-D ${jump}`),
        ...last.filter((jump) => !there.includes(`-A ${jump}`) || !isLast(there, jump)).map((jump) => `-A ${jump}`),
        'COMMIT',
      ];
    })
    .join('\n')
    .concat('\n');
}

/** Whether all of our chains are there, with as many rules as they have, and all that leads there. */
export function iptablesWhole(facts: FilterFacts, ability: FilterAbility, saved: string): boolean {
  const tables = tablesOf(saved);
  return Object.entries(iptablesParts(facts, ability)).every(([table, { chains, rules, first, last }]) => {
    const there = tables.get(table) ?? [];
    const own = there.filter((line) => chains.some((chain) => line.startsWith(`-A ${chain} `)));
    const leads = [...first, ...last].every((jump) => there.includes(`-A ${jump}`));
    return own.length === rules.length && leads && last.every((jump) => isLast(there, jump));
  });
}

/** For `iptables-restore --noflush`: without anything of that name; undefined when there is nothing. */
export function iptablesRemoval(tag: string, saved: string): string | undefined {
  const prefix = `SELVEDGE-${tag}-`;
  const lines = [...tablesOf(saved)].flatMap(([table, there]) => {
    const chains = there.flatMap((line) => (line.startsWith(`:${prefix}`) ? [line.slice(1).split(' ')[0] ?? ''] : []));
    if (chains.length === 0) return [];
    const jumps = there.filter(
      (line) => !line.startsWith(`-A ${prefix}`) && chains.some((one) => line.endsWith(` -j ${one}`)),
    );
    return [
      `*${table}`,
      ...jumps.map((line) => line.replace(/^-A/, '-D')),
      ...chains.map((chain) => `-F ${chain}`),
      ...chains.map((chain) => `-X ${chain}`),
      'COMMIT',
    ];
  });
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`;
}

/** Whether anybody but this node has rules about what the box forwards: then others count on that. */
export function iptablesForwards(tag: string, saved: string): boolean {
  const there = tablesOf(saved).get('filter') ?? [];
  return there.some((line) => line.startsWith('-A FORWARD ') && !line.includes(`-j SELVEDGE-${tag}-`));
}

/** The box's address on the networks of each node that has rules, by tag. */
export const iptablesGateways = (saved: string): Map<string, string> =>
  new Map(
    [...saved.matchAll(/^-A SELVEDGE-([0-9a-f]{4})-IN -d (\S+)\/32 .*--dport 53 /gm)].map(
      ([, tag = '', gateway = '']) => [tag, gateway],
    ),
  );

/** Whether that node, or some node, guards what the box forwards. */
export const iptablesGuarded = (saved: string, tag = '[0-9a-f]{4}'): boolean =>
  new RegExp(`^:SELVEDGE-${tag}-GUARD `, 'm').test(saved);

export const nftTable = (tag: string): string => `selvedge_${tag}`;

/** For `nft --file -`: the table as it should be, in place of any before. */
export function nftText(
  { tag, links, instances, services, gateway, apart, published, guard }: FilterFacts,
  { listeners }: FilterAbility,
): string {
  const own = nftTable(tag);
  const [from, to] = [`iifname "${links}*"`, `oifname "${links}*"`];
  const open = listeners ? ' socket wildcard 0' : '';
  const refused = ['meta l4proto tcp reject with tcp reset', 'reject'];
  const answers = 'ct state established,related accept';
  return `table ip ${own}
delete table ip ${own}
table ip ${own} {
  chain input {
    type filter hook input priority -10; policy accept;
    ${from} jump inside
  }
  chain inside {
    ${answers}
    ip daddr ${gateway} udp dport 53${open} accept
    ip daddr ${gateway} tcp dport 53${open} accept
    ip daddr ${gateway} icmp type echo-request accept
    ip daddr ${services}${open} accept
    ${published.map(({ address, port, protocol }) => `${address === undefined ? '' : `ip daddr ${address} `}${protocol} dport ${port} accept`).join('\n    ')}
    ${refused.join('\n    ')}
  }
  chain forward {
    type filter hook forward priority -10; policy accept;
    ${apart.flatMap((range) => refused.map((how) => `${from} ip daddr ${range} ${how}`)).join('\n    ')}
    ${to} ${answers}
    ${to} drop
  }
${guard ? `  chain guard {\n    type filter hook forward priority 10; policy drop;\n    iifname "${allLinks}*" accept\n    oifname "${allLinks}*" accept\n  }\n` : ''}\
  chain out {
    type nat hook postrouting priority 100; policy accept;
    ip saddr ${instances} oifname != "${links}*" masquerade
  }
}
`;
}
