// All the ways to write the name of one image, and none for what is no name of one. Pure; called by policy.ts: a pattern that allows an
// image allows it however it is written, and a name that an engine would read otherwise is not matched at all. The grammar and the
// defaults are those of distribution/reference, which Docker and podman follow.

const part = '[a-z0-9]+(?:(?:\\.|_{1,2}|-+)[a-z0-9]+)*';
const grammar = new RegExp(
  `^(?<name>(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?${part}(?:/${part})*)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}))?$`,
);

/**
 * None for what is no name of an image, and for what an engine may take for the id of one that it has. With a digest the tag counts for
 * nothing, and is left out.
 */
export function spellingsOf(reference: string): string[] {
  const { name = '', tag, digest } = grammar.exec(reference)?.groups ?? {};
  // `cafe` or `sha256:cafe` is whatever image on the box has an id that begins so.
  if (name === '' || name === 'sha256' || (tag === undefined && digest === undefined && /^[0-9a-f]+$/.test(name)))
    return [];
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = first === 'localhost' || /[.:A-Z]/.test(first);
  const isDocker = !isHost || first === 'docker.io' || first === 'index.docker.io';
  const path = isHost ? name.slice(slash + 1) : name;
  const short = isDocker ? path.replace(/^library\/(?=[^/]+$)/, '') : path;
  const full = short.includes('/') ? short : `library/${short}`;
  const names = isDocker ? [...new Set([`docker.io/${full}`, `docker.io/${short}`, full, short])] : [name];
  const usual = tag === undefined || tag === 'latest';
  const versions = digest === undefined ? [`:${tag ?? 'latest'}`, ...(usual ? [''] : [])] : [`@${digest}`];
  return names.flatMap((one) => versions.map((version) => one + version));
}
