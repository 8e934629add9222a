import { randomUUID } from 'crypto';
import { readFileSync } from 'fs';
import { registerAfterRestore, registerBeforeSnapshot } from 'snapstart';

const done = [];
registerBeforeSnapshot(() => done.push('before'));
registerAfterRestore(async () => done.push('after'));
// Node.js draws ahead for the next ones.
randomUUID();
Math.random();

export const handler = async () => ({
  hooks: done,
  random: Math.random(),
  uuid: randomUUID(),
  boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
});
