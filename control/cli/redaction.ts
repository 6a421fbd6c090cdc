// Takes secrets out of text that leaves the box: those that this box knows, wherever they stand, and what has the form of one. Pure; called
// by support-bundle.ts.

const removed = '[removed]';

/** Shorter ones would tear holes into every line; what has them as its value alone is removed by its name. */
const secretCharactersMin = 6;

const forms: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, removed],
  // Tokens (pki/tokens.ts) and approval codes.
  [/\bsv1_[a-z0-9]+_[A-Za-z0-9_-]+/g, removed],
  [/\b[0-9A-HJ-NP-TV-Z]{2}-[0-9A-HJ-NP-TV-Z]{4}-[0-9A-HJ-NP-TV-Z]{4}-[0-9A-HJ-NP-TV-Z]{2}\b/g, removed],
  [
    /(\b\w*(?:password|passwd|secret|token|api_?key|authorization)\w*["']?\s*[=:]\s*)("[^"\n]*"|'[^'\n]*'|(?:bearer |basic )?[^\s,;"']+)/gi,
    `$1${removed}`,
  ],
];

/** Members whose value is one, whatever it is. */
const secretMember = /^(env|environment|token|secret|password|code|approval)$/i;

export interface Redaction {
  text(text: string): string;
  /** A copy: names of environment variables stay, their values do not. */
  value(value: unknown): unknown;
}

export function createRedaction(secrets: Iterable<string>): Redaction {
  // Long ones first: one may be part of another.
  const known = [...new Set(secrets)]
    .filter((secret) => secret.length >= secretCharactersMin)
    .sort((one, other) => other.length - one.length);

  function text(given: string): string {
    let clean = given;
    for (const secret of known) {
      clean = clean.replaceAll(secret, removed);
      // As it stands in JSON.
      const quoted = JSON.stringify(secret).slice(1, -1);
      if (quoted !== secret) clean = clean.replaceAll(quoted, removed);
    }
    for (const [form, instead] of forms) clean = clean.replace(form, instead);
    return clean;
  }

  function hide(value: unknown): unknown {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return removed;
    return Object.fromEntries(Object.keys(value).map((name) => [name, removed]));
  }

  function clean(value: unknown): unknown {
    if (typeof value === 'string') return text(value);
    if (Array.isArray(value)) return value.map(clean);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [name, secretMember.test(name) ? hide(member) : clean(member)]),
    );
  }
  return { text, value: clean };
}
