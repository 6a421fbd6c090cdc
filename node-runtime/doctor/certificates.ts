// Until when this node's certificates are valid: its own authority (renewed by a controller), and on a controller the issuing one.

import { validityOf } from '../../pki/rotation.ts';
import { authorityWarnMs, issuingAuthorityWarnMs } from '../limits.ts';
import { type DoctorInput, type Finding, fail, ok, warn } from './finding.ts';

const dayMs = 86_400_000;

export interface CertificateFacts {
  id: string;
  what: string;
  /** Milliseconds since 1970. */
  notBeforeMs: number;
  notAfterMs: number;
  nowMs: number;
  /** Warn when less than this is left. */
  warnMs: number;
  /** How it is renewed. */
  action: string;
}

export function judgeCertificate({
  id,
  what,
  notBeforeMs,
  notAfterMs,
  nowMs,
  warnMs,
  action,
}: CertificateFacts): Finding {
  const date = (at: number): string => new Date(at).toISOString().slice(0, 10);
  if (nowMs > notAfterMs) return fail(id, `${what} expired on ${date(notAfterMs)}`, action);
  if (nowMs < notBeforeMs)
    return fail(id, `${what} is valid from ${date(notBeforeMs)} on, by this clock`, 'Set the clock.');
  const days = Math.floor((notAfterMs - nowMs) / dayMs);
  const text = `${what} is valid until ${date(notAfterMs)} (${days} days)`;
  return notAfterMs - nowMs < warnMs ? warn(id, text, action) : ok(id, text);
}

function judge(
  input: DoctorInput,
  certificate: string,
  facts: Pick<CertificateFacts, 'id' | 'what' | 'warnMs' | 'action'>,
): Finding {
  const { notBeforeMs, notAfterMs } = validityOf(Buffer.from(certificate, 'base64'));
  return judgeCertificate({ ...facts, notBeforeMs, notAfterMs, nowMs: input.clock.now() });
}

export function checkAuthority(input: DoctorInput): Finding {
  const id = 'certificate-node';
  const [certificate] = input.own?.membership?.chain ?? [];
  if (certificate === undefined) return ok(id, 'this box has none yet');
  return judge(input, certificate, {
    ...{ id, what: 'the authority of this node', warnMs: authorityWarnMs },
    action:
      'A controller renews it as soon as one is reachable. Once it has expired: `selvedge token create` there, and here ' +
      '`selvedge up --token TOKEN`, which keeps this node’s identity.',
  });
}

export function checkIssuingAuthority(input: DoctorInput): Finding {
  const id = 'certificate-issuing';
  const [certificate] = input.own?.controllerAuthority?.chain ?? [];
  if (certificate === undefined) return ok(id, 'this node is no controller');
  return judge(input, certificate, {
    ...{ id, what: 'the issuing authority of this controller', warnMs: issuingAuthorityWarnMs },
    action:
      'It is signed by the root key: keep root.pem at hand, and found a new fabric before it expires if the key is lost.',
  });
}
