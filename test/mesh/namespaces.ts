// Network namespaces for tests: a bridge between boxes that have no other network. Needs root and `ip`; everything is removed
// when the test ends, also when it fails. Names are random, so that tests do not meet, nor what a killed run has left.

import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

/** What a test needs that this box lacks, or undefined. Traffic on a bridge must not pass through a firewall's hands. */
export function namespacesMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  try {
    execFileSync('ip', ['netns', 'add', probe], { stdio: 'ignore' });
    execFileSync('ip', ['netns', 'del', probe], { stdio: 'ignore' });
    return undefined;
  } catch {
    return '`ip netns` does not work here';
  }
}

/** The same, and what networks of programs are made and looked at with. */
export function packetFiltersMissing(): string | undefined {
  const missing = namespacesMissing();
  if (missing !== undefined) return missing;
  return ['iptables', 'iptables-save', 'nft', 'nsenter', 'setpriv']
    .filter((program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status !== 0)
    .map((program) => `${program} is not installed`)[0];
}

/** Of this process; an interface's name has 15 characters at most. */
const prefix = `sv${randomBytes(3).toString('hex')}`;
const probe = `${prefix}p`;

let made = 0;

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Whose namespaces they are: a test, or whoever can be told and ends like one. */
export interface Home {
  teardown(undo: () => Promise<void> | void): void;
  log(...words: unknown[]): void;
}

export interface Lan {
  /** Gives the box an interface on this LAN with the addresses (CIDR notation); it is up when this returns. */
  attach(box: string, name: string, addresses: string[]): void;
  /** Pulls the box's cable, or puts it in again: what is sent vanishes, and nobody is told. */
  plug(box: string, isIn: boolean): void;
}

export interface Namespaces {
  /** A new namespace whose loopback interface is up; its name. */
  box(): string;
  /** A new bridge, in a namespace of its own so that no firewall of the box sees its traffic. */
  lan(): Lan;
  /** Runs `ip` in the box's namespace. */
  ip(box: string, ...args: string[]): void;
  /** Bytes that the box's device has received so far. */
  receivedBytes(box: string, device: string): number;
}

export function createNamespaces(t: Home): Namespaces {
  const created: string[] = [];
  t.teardown(() => {
    for (const name of created.reverse()) {
      try {
        ip('netns', 'del', name);
      } catch (error) {
        t.log(`could not remove the namespace ${name}: ${error}`);
      }
    }
  });

  function box(): string {
    const name = `${prefix}n${made++}`;
    ip('netns', 'add', name);
    created.push(name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    return name;
  }

  return {
    box,
    ip: (name, ...args) => ip('-n', name, ...args),
    receivedBytes(name, device) {
      const said = execFileSync('ip', ['-n', name, '-s', '-j', 'link', 'show', device], { encoding: 'utf8' });
      const [link] = JSON.parse(said) as { stats64: { rx: { bytes: number } } }[];
      if (link === undefined) throw new Error(`${name} has no ${device}`);
      return link.stats64.rx.bytes;
    },
    lan() {
      const hub = box();
      ip('-n', hub, 'link', 'add', 'bridge', 'type', 'bridge', 'mcast_snooping', '0');
      ip('-n', hub, 'link', 'set', 'bridge', 'up');
      const ports = new Map<string, string>();
      return {
        plug(of, isIn) {
          ip('-n', hub, 'link', 'set', ports.get(of) ?? '', isIn ? 'up' : 'down');
        },
        attach(to, name, addresses) {
          const port = `port${made++}`;
          ports.set(to, port);
          ip('-n', hub, 'link', 'add', port, 'type', 'veth', 'peer', 'name', name, 'netns', to);
          ip('-n', hub, 'link', 'set', port, 'master', 'bridge');
          ip('-n', hub, 'link', 'set', port, 'up');
          for (const address of addresses)
            ip('-n', to, 'addr', 'add', address, 'dev', name, ...(address.includes(':') ? ['nodad'] : []));
          ip('-n', to, 'link', 'set', name, 'up');
        },
      };
    },
  };
}
