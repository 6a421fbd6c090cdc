// The published schema of a node's hardware is the one that nodes are held to.

import { readFileSync } from 'node:fs';
import test from 'ava';
import { z } from 'zod';
import { readBox } from '../../node-runtime/hardware/read-hardware.ts';
import { hardwareSchemaFile, hardwareSchemaText } from './hardware-schema.ts';

test('docs/hardware.schema.json is what the code holds nodes to (write it with `node test/docs/hardware-schema.ts`)', (t) => {
  t.deepEqual(JSON.parse(readFileSync(hardwareSchemaFile, 'utf8')), JSON.parse(hardwareSchemaText()));
});

test('a validator that reads only that file accepts what this box is, and no device without a path', async (t) => {
  const published = z.fromJSONSchema(JSON.parse(readFileSync(hardwareSchemaFile, 'utf8')));
  const hardware = await readBox({ root: '/', arch: process.arch, dataFolder: '/tmp' });
  const device = { id: 'serial:ttyS0', kind: 'serial', name: 'ttyS0', paths: ['/dev/ttyS0'] };
  const having = (more: object) => published.safeParse({ ...hardware, devices: [{ ...device, ...more }] }).success;
  t.true(published.safeParse(hardware).success);
  t.true(having({}));
  t.false(having({ paths: [] }));
  t.false(having({ name: '\u001b[2J' }));
  t.false(having({ name: '\u202eevil' }));
  t.false(having({ kind: 'laser' }));
  t.false(published.safeParse({ ...hardware, memory: {} }).success);
});
