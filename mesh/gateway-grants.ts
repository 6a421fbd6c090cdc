// Whether a gateway lets somebody in. Pure but for the certificates' signatures; called by gateway-connections.ts and gateway-http.ts for
// every connection and request, and again for what is open. It decides by grants alone and knows no routes.

import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import type { GatewayGrant } from '../control/gateway.ts';

/** What somebody who comes has shown. */
export interface Presented {
  address: string;
  /** Verified by TLS up to one of the grants' authorities, or self-made: leaf first; empty where none was shown. */
  certificates: readonly X509Certificate[];
  /** Every certificate of the chain is signed by the next, up to an authority of some grant. */
  chained: boolean;
  /** SHA-256 of the bearer token. */
  tokenSha256: Uint8Array | undefined;
}

/** `byToken`: what was shown for it is a secret between client and gateway. */
export type Judgement = { grant: string; byToken: boolean } | { lacks: 'address' | 'certificate' | 'token' };

export interface Grants {
  judge(presented: Presented, nowMs: number): Judgement;
  /** Whether somebody from there could be let in, whatever else he shows. */
  mayCome(address: string, nowMs: number): boolean;
  /** Clients are asked for a certificate. */
  readonly wantsCertificates: boolean;
  /** PEM: of the authorities that grants name. */
  readonly authorities: string[];
}

export const tokenHash = (token: string): Uint8Array => createHash('sha256').update(token).digest();

/** IPv4 addresses that a dual-stack socket shows as IPv6 (RFC 4291, section 2.5.5.2) are IPv4; a zone says nothing here. */
export function plainAddress(address: string): string {
  const [bare = ''] = address.toLowerCase().split('%');
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/.test(bare) ? bare.slice('::ffff:'.length) : bare;
}

interface Compiled {
  name: string;
  isIn(address: string): boolean;
  token: Uint8Array | undefined;
  isBearer: ((presented: Presented, nowMs: number) => boolean) | undefined;
  until: number;
}

/** What cannot be read lets nobody in. */
function rangesOf(cidrs: readonly string[] | undefined): (address: string) => boolean {
  if (cidrs === undefined) return () => true;
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [network = '', prefix] = cidr.split('/');
    const version = isIP(network);
    if (version === 0) continue;
    list.addSubnet(
      network,
      prefix === undefined ? (version === 4 ? 32 : 128) : Number(prefix),
      `ipv${version as 4 | 6}`,
    );
  }
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, `ipv${version as 4 | 6}`);
  };
}

const isInTime = (certificate: X509Certificate, nowMs: number): boolean =>
  nowMs >= certificate.validFromDate.getTime() && nowMs <= certificate.validToDate.getTime();

function certificateCheck(certificate: GatewayGrant['certificate']): Compiled['isBearer'] {
  if (certificate === undefined) return undefined;
  if ('sha256' in certificate) {
    const wanted = certificate.sha256;
    return ({ certificates: [leaf] }, nowMs) =>
      leaf !== undefined && isInTime(leaf, nowMs) && leaf.fingerprint256.replaceAll(':', '').toLowerCase() === wanted;
  }
  const authority = new X509Certificate(certificate.authority);
  return ({ certificates, chained }, nowMs) => {
    const last = certificates.at(-1);
    if (!chained || last === undefined || ![...certificates, authority].every((one) => isInTime(one, nowMs)))
      return false;
    return (
      last.fingerprint256 === authority.fingerprint256 ||
      (last.checkIssued(authority) && last.verify(authority.publicKey))
    );
  };
}

/** Throws when an authority is no certificate; nothing of what it says is held against anybody twice. */
export function compileGrants(grants: readonly GatewayGrant[]): Grants {
  const compiled = grants.map(
    ({ name, cidrs, tokenSha256, certificate, until }): Compiled => ({
      name,
      isIn: rangesOf(cidrs),
      token: tokenSha256 === undefined ? undefined : Buffer.from(tokenSha256, 'hex'),
      isBearer: certificateCheck(certificate),
      until: until ?? Number.POSITIVE_INFINITY,
    }),
  );
  /** One that says nothing says nothing of anybody. */
  const isOf = ({ isIn, until }: Compiled, address: string, nowMs: number): boolean =>
    nowMs < until && isIn(plainAddress(address));

  return {
    judge(presented, nowMs) {
      let lacks: 'address' | 'certificate' | 'token' = 'address';
      for (const one of compiled) {
        if (!isOf(one, presented.address, nowMs)) continue;
        if (one.isBearer !== undefined && !one.isBearer(presented, nowMs)) {
          if (lacks === 'address') lacks = 'certificate';
          continue;
        }
        const { tokenSha256 } = presented;
        if (one.token !== undefined) {
          if (tokenSha256 === undefined || !isSame(one.token, tokenSha256)) {
            lacks = 'token';
            continue;
          }
        }
        return { grant: one.name, byToken: one.token !== undefined };
      }
      return { lacks };
    },
    mayCome: (address, nowMs) => compiled.some((one) => isOf(one, address, nowMs)),
    wantsCertificates: compiled.some(({ isBearer }) => isBearer !== undefined),
    authorities: grants.flatMap(({ certificate }) =>
      certificate !== undefined && 'authority' in certificate ? [certificate.authority] : [],
    ),
  };
}

const isSame = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && timingSafeEqual(one, other);
