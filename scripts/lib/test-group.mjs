import { appendFileSync, readFileSync } from 'node:fs';
import { after, before, describe } from 'node:test';

/**
 * Runs test files in this process, one after the other. Each is a suite with the name of the file, so that hooks outside of suites apply to
 * its tests only. Appends a line for each file to TEST_DURATIONS: `[milliseconds, milliseconds of CPU, file]` as JSON. It is JavaScript,
 * since test processes run without tsx.
 * @param {readonly (readonly [file: string, url: string])[]} files
 * @param {number} timeoutMs timeout of one file in milliseconds, so that a file that hangs is reported by name
 */
export function runGroup(files, timeoutMs) {
  for (const [file, url] of files)
    describe(file, { timeout: timeoutMs }, async () => {
      let startedAt = 0;
      let cpuBefore = 0;
      before(() => {
        startedAt = performance.now();
        cpuBefore = cpuMs();
      });
      await import(url);
      // After the hooks of the file.
      after(() => {
        const durations = [performance.now() - startedAt, cpuMs() - cpuBefore, file];
        appendFileSync(process.env.TEST_DURATIONS ?? '/dev/null', `${JSON.stringify(durations)}\n`);
      });
    });
}

/** Milliseconds of CPU of this process and, on Linux, of its children that have ended. */
function cpuMs() {
  const { user, system } = process.cpuUsage();
  let ticks = 0;
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    // User and system time of children, in hundredths of a second: fields 16 and 17 of proc_pid_stat(5), of which the second is in parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks = Number(fields[16 - 3]) + Number(fields[17 - 3]);
  } catch {
    // Not on Linux.
  }
  return (user + system) / 1000 + ticks * 10;
}
