import { inNextTurn } from './next-turn.ts';

/**
 * Shares the event loop between large bodies and everything else. Without it, a turn of the event loop forwards a chunk of each
 * large body, and a hundred of them delay all other requests. A turn that accepts a connection forwards even less, because
 * Node.js accepts one connection per turn (libuv pull request 3696), and the others wait in the accept queue.
 */
export interface BodyPacer {
  /**
   * Counts a chunk that was forwarded.
   * @returns whether the body may continue; otherwise its source must pause and call `wait`
   */
  take(bytes: number): boolean;
  /** Calls `resume` in a later turn, in the order of the calls. */
  wait(resume: () => void): void;
  /** Forwards less in the next turn, because connections were accepted or wait for their turn. */
  yieldToConnections(): void;
}

/** Bytes of a chunk below which it does not count, so that small bodies cost nothing. */
const minChunkBytes = 16 * 1024;

/** Size of the largest chunk that Node.js reads. */
const chunkBytes = 64 * 1024;

/** Maximum chunks per turn of the event loop; a mebibyte takes about a millisecond. */
const chunksPerTurn = 16;

/** Maximum chunks in a turn after one in which a connection was accepted. */
const chunksBesideConnections = 1;

/** Creates a pacer for all bodies of the process. */
export function createBodyPacer(): BodyPacer {
  const waiting: (() => void)[] = [];
  let bytesLeft = chunksPerTurn * chunkBytes;
  let connectionsWait = false;

  const scheduleTurn = inNextTurn(() => {
    const chunks = connectionsWait ? chunksBesideConnections : chunksPerTurn;
    connectionsWait = false;
    bytesLeft = chunks * chunkBytes;
    const resumed = waiting.splice(0, chunks);
    if (waiting.length > 0) scheduleTurn();
    for (const resume of resumed) resume();
  });

  return {
    take(bytes) {
      if (bytes < minChunkBytes) return true;
      scheduleTurn();
      bytesLeft -= bytes;
      return bytesLeft > 0 && waiting.length === 0;
    },
    wait(resume) {
      waiting.push(resume);
      scheduleTurn();
    },
    yieldToConnections() {
      connectionsWait = true;
    },
  };
}
