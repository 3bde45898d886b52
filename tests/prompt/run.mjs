// Installs the references if need be, then runs compare.mjs. Exit code 77: they cannot be had.
import {execFileSync} from 'node:child_process';
import {existsSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
if (!existsSync(join(here, 'node_modules', '.package-lock.json'))) {
  try {
    execFileSync('npm', ['ci', '--silent'], {cwd: here, stdio: 'inherit', timeout: 600_000});
  } catch {
    console.log('skipped: npm ci could not install the reference templates');
    process.exit(77);
  }
}
await import('./compare.mjs');
