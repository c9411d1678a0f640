import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { endWhileReceiving } from './end-while-receiving.ts';

/** Creates a request of which the client never sends the rest. */
function incompleteRequest(): IncomingMessage {
  return Object.assign(new EventEmitter(), {
    complete: false,
    resume: () => undefined,
  }) as unknown as IncomingMessage;
}

describe('responses that end before the whole request has arrived', () => {
  it('end one per turn of the event loop when the time of many is over at once', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    let ended = 0;
    const response = {
      flushHeaders: () => undefined,
      end: () => {
        ended += 1;
      },
    } as unknown as ServerResponse;
    for (let client = 0; client < 3; client += 1) endWhileReceiving(incompleteRequest(), response);
    context.mock.timers.tick(1000);
    for (const count of [0, 1, 2, 3]) {
      assert.equal(ended, count);
      await nextTurn();
    }
  });
});
