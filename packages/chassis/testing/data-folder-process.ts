import { createInterface } from 'node:readline';
import { acquireDataFolder, type DataFolder } from '../src/database/data-folder.ts';

/**
 * A process for tests of data folders. For each line of input it locks that folder and prints one line. It holds the
 * locks until the input ends.
 */
const acquired: DataFolder[] = [];
for await (const path of createInterface({ input: process.stdin })) {
  try {
    acquired.push(await acquireDataFolder(path));
    console.log('taken');
  } catch (error) {
    console.log(String(error));
  }
}
for (const folder of acquired) await folder.release();
