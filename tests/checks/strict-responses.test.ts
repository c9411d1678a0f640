import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { copyRepository, type RepositoryCopy } from '../kit/repository-copy.ts';

const run = promisify(execFile);

/** Files with a title, and the end of the finding about them; undefined for allowed ones. */
const planted: readonly [title: string, file: string, source: string, finding: string | undefined][] = [
  [
    'a strict object in a client',
    'order-service/src/clients/planted-1.ts',
    "import { z } from 'zod';\nexport const user = z.strictObject({ id: z.int() });\n",
    'defines a strict object beside a call of a service',
  ],
  [
    'a schema that becomes strict in a file that calls a service',
    'gateway/src/aggregates/planted-2.ts',
    "import type { Upstream } from '@zerda/upstream/upstream';\nexport const read = (u: Upstream) => z.object({}).strict().parse(u);\n",
    'defines a strict object beside a call of a service',
  ],
  [
    "the schema of another service's handlers",
    'gateway/src/planted-3.ts',
    "import { type User, user as schema } from '@zerda/contracts/user-service/users';\nexport const read = (value: unknown): User => schema.parse(value);\n",
    'imports user of user-service, which is strict',
  ],
  [
    "the response of another service's operation",
    'order-service/src/planted-4.ts',
    "import { userOperations } from '@zerda/contracts/user-service/users';\nexport const read = (value: unknown) =>\n  userOperations.getUser.response.schema.safeParse(value);\n",
    'parses with userOperations.getUser.response.schema of user-service, which is strict',
  ],
  [
    'an object that is not strict',
    'gateway/src/planted-5.ts',
    "import { userIdsOperations, userIdsResponse } from '@zerda/contracts/user-service/user-ids';\nexport const read = (value: unknown) => [userIdsResponse.parse(value), userIdsOperations.listUserIds.response.schema.parse(value)];\n",
    undefined,
  ],
  [
    'a strict object for the own requests of a service',
    'order-service/src/planted-6.ts',
    "import { orderOperations } from '@zerda/contracts/order-service/orders';\nexport const read = (value: unknown) => orderOperations.placeOrder.body.parse(value);\n",
    undefined,
  ],
];

describe('the check of responses', () => {
  let copy: RepositoryCopy;
  let findings: string[];

  async function findStrictResponses(): Promise<string[]> {
    const code = `import { findStrictResponses } from './scripts/checks/strict-responses.ts';
      console.log(JSON.stringify(await findStrictResponses()));`;
    const options = ['--import', 'tsx', '--input-type=module', '--eval', code];
    return JSON.parse((await run(process.execPath, options, { cwd: copy.folder })).stdout);
  }

  before(async () => {
    copy = await copyRepository();
  });
  after(() => copy.remove());

  it('passes for the repository', async () => {
    assert.deepEqual(await findStrictResponses(), []);
  });

  describe('with planted files', () => {
    before(async () => {
      for (const [, file, source] of planted) {
        const path = join(copy.folder, 'packages', file);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, source);
      }
      findings = await findStrictResponses();
    });

    for (const [title, file, , finding] of planted) {
      it(`${finding === undefined ? 'allows' : 'rejects'} ${title}`, () => {
        const found = findings.filter((line) => line.startsWith(`packages/${file}: `));
        const expected =
          finding === undefined ? [] : [`packages/${file}: ${finding}. Use z.object for responses.`];
        assert.deepEqual(found, expected);
      });
    }
  });
});
