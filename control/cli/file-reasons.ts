// Why a file could not be read, in words. Called where files are read.

/** Node's messages repeat call and path; the code's meaning is enough. */
export function plainReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'it may not be read';
  if (code === 'EISDIR') return 'it is a folder';
  return message;
}
