// Which user a container runs as, by number: whose its secrets are. Pure but for the passwd file that it is given. Called by
// docker-launch.ts and docker-engine.ts.

/** The content of the one file in a tar archive (POSIX.1-1988 header); undefined for anything but a regular file. */
export function fileInArchive(archive: Buffer): Buffer | undefined {
  const [typeAt, sizeAt, headerBytes] = [156, 124, 512];
  if (archive.length < headerBytes) return undefined;
  const type = String.fromCharCode(archive[typeAt] ?? 0);
  const size = Number.parseInt(archive.toString('latin1', sizeAt, sizeAt + 12), 8);
  if (!['0', '\0'].includes(type) || !(size >= 0) || archive.length < headerBytes + size) return undefined;
  return archive.subarray(headerBytes, headerBytes + size);
}

/**
 * `user` is what the container was made with: `name`, `number`, or either with `:group`; empty is root. Undefined when nobody knows:
 * a name that the container's /etc/passwd does not have.
 */
export async function userNumber(user: string, passwd: () => Promise<string | undefined>): Promise<number | undefined> {
  const name = user.split(':')[0] ?? '';
  if (name === '') return 0;
  if (/^\d{1,10}$/.test(name)) return Number(name);
  const lines = (await passwd().catch(() => undefined))?.split('\n') ?? [];
  const uid = lines.find((line) => line.startsWith(`${name}:`))?.split(':')[2];
  if (uid !== undefined && /^\d{1,10}$/.test(uid)) return Number(uid);
  return name === 'root' ? 0 : undefined;
}
