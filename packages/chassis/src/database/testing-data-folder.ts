import { createInterface } from 'node:readline';
import { acquireDataFolder, type DataFolder } from './data-folder.ts';

/** A process for the tests of data folders: each line of its input is a folder to take; it answers a line and keeps it. */
const taken: DataFolder[] = [];
for await (const path of createInterface({ input: process.stdin })) {
  try {
    taken.push(await acquireDataFolder(path));
    console.log('taken');
  } catch (error) {
    console.log(String(error));
  }
}
for (const folder of taken) await folder.release();
