// `node test/docs/hardware-schema.ts` writes docs/hardware.schema.json from the schema that holds what nodes say;
// hardware-schema.test.ts holds the file against it.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hardwareJsonSchema } from '../../control/hardware.ts';
import { checkout } from './pages.ts';

export const hardwareSchemaFile = join(checkout, 'docs', 'hardware.schema.json');

export const hardwareSchemaText = (): string => `${JSON.stringify(hardwareJsonSchema(), undefined, 2)}\n`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(hardwareSchemaFile, hardwareSchemaText());
