/** Writes the config tables of the contract's document anew: `npm run docs`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { withConfigTables } from './config-tables.js';

const contract = fileURLToPath(new URL('../../../../docs/HXO_BLUEPRINT_CONTRACT.md', import.meta.url));
writeFileSync(contract, withConfigTables(readFileSync(contract, 'utf8')));
